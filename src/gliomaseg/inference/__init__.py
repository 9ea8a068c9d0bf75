"""A trained network in use: bundle, engine, windows, second pass, boundaries, labels, uncertainty."""
