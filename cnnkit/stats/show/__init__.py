"""Samples to look at: as stored, as network input, and augmented."""
