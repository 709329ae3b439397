"""Graphs between series: built from places, correlations and trips; checked and described."""
