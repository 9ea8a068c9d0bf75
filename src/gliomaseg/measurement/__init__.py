"""Numbers of one segmentation."""
