"""Pools of quantile forecasts."""
