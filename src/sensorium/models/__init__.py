"""The Perceiver as a whole model, presets, ``auto``, published weights and checkpoints."""
