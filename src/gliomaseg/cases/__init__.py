"""One patient at one time, on disk: found, read and checked."""
