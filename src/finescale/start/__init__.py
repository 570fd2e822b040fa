"""From data and models to a study file that fits a budget: look, choose, measure, write."""
