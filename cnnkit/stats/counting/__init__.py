"""Counting of images in integers that add up, and the statistics computed from them."""
