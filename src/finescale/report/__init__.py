"""The report: what a study's records say, as tables, figures and one page."""
