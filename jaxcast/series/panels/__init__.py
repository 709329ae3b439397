"""Many series of unequal length, with covariates: each window is of one series."""
