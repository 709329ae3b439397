"""Forecasters of origin-destination matrices."""
