"""From fitted laws to decisions: crossovers, recommendations, the next runs."""
