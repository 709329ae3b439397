"""Forecast hubs: tables of submitted quantile forecasts, their scores, and pools of them."""
