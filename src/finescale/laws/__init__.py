"""Scaling laws: formulas, fitting, fitted laws with intervals, comparison, and the paper's published laws."""
