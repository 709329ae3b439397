"""Cells that forecast a series from its own past."""
