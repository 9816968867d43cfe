"""Files to arrays and arrays to files: one door for each foreign library."""
