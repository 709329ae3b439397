"""Pools: memory and candidate forecasts -> one forecast."""
