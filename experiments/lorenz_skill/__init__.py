"""Valid time beyond the paper: other truths, noise, gaps and rivals."""
