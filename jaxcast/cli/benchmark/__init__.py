"""Commands of the benchmark of valid time."""
