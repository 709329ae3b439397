"""Regressions of each series on seasonal features, and networks that correct them."""
