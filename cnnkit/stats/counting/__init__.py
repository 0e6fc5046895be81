"""From images to integers that add up, and from those to figures."""
