"""Probabilistic forecasters that all series of a panel share."""
