"""Room 5: predictions against references, by the rules of every BraTS year."""
