"""Training a model: plan, loop, optimizers, schedule, and a run from data to report."""
