"""An exam as the scanner made it, on the grid of the networks: register, resample once, extract the brain."""
