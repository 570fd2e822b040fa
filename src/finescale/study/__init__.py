"""Running a study: specifications in, records out."""
