"""Room 4: what a segmentation tells."""
