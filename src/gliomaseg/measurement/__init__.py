"""Measurements of one segmentation."""
