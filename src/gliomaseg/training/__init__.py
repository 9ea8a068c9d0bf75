"""From a data set to a run and a bundle (PyTorch: the extra [train])."""
