"""Forecasters of several related series: naive ones, regressions on lags, and recurrent networks."""
