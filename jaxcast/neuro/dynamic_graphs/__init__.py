"""Dynamic graphs: how the correlations between regions change during a recording."""
