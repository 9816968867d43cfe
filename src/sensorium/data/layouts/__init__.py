"""What lies on disk in each layout -> a listing of its examples: one file for each layout."""
