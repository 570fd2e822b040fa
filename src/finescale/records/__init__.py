"""The table of runs that the analysis reads: columns, reading, settings."""
