"""Commands of ensembles of dated point forecasts."""
