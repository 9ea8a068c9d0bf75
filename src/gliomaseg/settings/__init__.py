"""Every setting, on one page, and how a tree of them is read."""
