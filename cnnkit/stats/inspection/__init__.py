"""Issues of a dataset: duplicate, blank, dark, bright or blurred images."""
