"""A trained model and data to numbers and files: evaluate, predict, costs."""
