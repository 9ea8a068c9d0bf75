"""Room 3: how a trained network is used."""
