"""Results for other programs, in their formats: a BIDS data set.

The result folder stays the only truth: what is written here is made from it, and can be made again.
"""
