"""What is odd in a dataset: images that are there twice, blank, dark, bright or blurred."""
