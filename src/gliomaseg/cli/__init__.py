"""The command line: the only place that prints, reads arguments, opens a browser or exits."""
