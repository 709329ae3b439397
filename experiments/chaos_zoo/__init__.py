"""Forecasts of a collection of chaotic systems."""
