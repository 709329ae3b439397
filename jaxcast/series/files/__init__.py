"""Reads sensors, grids, trips and graphs from the files of the literature."""
