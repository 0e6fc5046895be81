"""A run: its recipe, its folder, its checkpoints, and the code of its network."""
