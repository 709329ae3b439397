"""Regressions on lags of several series."""
