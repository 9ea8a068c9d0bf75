"""Room 1: what the images are."""
