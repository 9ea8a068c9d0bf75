"""Results on disk: atomic files, locks, the folder of a case, run.json, summary.csv, tables."""
