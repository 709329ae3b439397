"""Models that forecast panels: training, calibration and forecasts."""
