"""Scores of forecasts, on arrays alone."""
