"""Does it learn? Recipes, the loop, and the run that they leave."""
