"""What ``make results`` does: train ``auto`` on every data set, one after the other, and write docs/results.md."""
