"""The command line: one file per command; it parses, calls a function, and emits its result."""
