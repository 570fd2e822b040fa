"""From forecasts and laws to decisions: crossovers, recommendations, the runs that would settle one."""
