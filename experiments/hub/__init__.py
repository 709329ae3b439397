"""Pools of quantile forecasts for an epidemic forecast hub."""
