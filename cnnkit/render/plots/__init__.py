"""Pictures of results: charts of matplotlib in one style, and grids of images."""
