"""The progress of a benchmark's training as lines of a log."""

from __future__ import annotations

from sensorium.training.progress import Quiet


class Tell(Quiet):
    """A line for each twentieth of a stage."""

    next_share = 0.0

    def stage(self, text: str) -> None:
        self.next_share = 0.0
        print(text, flush=True)

    def progress(self, share: float, figures: dict[str, float]) -> None:
        if share >= self.next_share:
            self.next_share = share + 0.05
            print(f"{share:.0%}", *(f"{name} {value:.3f}" for name, value in figures.items()), flush=True)
