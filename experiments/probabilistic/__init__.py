"""Probabilistic forecasts of many series: plain methods, published networks and our own."""
