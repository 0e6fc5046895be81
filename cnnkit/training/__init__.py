"""Does it learn? Recipes, the loop, and the run that they leave."""

from cnnkit.training.experiment import train
from cnnkit.training.recipe import Recipe

__all__ = ["Recipe", "train"]
