"""Whole rounds of a hub: pooled, and written as submissions."""
