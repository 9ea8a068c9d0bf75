"""Predictions against references, by the rules of every BraTS year."""
