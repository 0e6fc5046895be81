"""Training: recipes, the training loop, and resuming."""
