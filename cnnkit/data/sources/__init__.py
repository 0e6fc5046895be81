"""One file for each kind of source that images come from."""
