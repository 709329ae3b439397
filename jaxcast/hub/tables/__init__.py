"""Tables of quantile forecasts and target data: read lazily, checked, put on a grid."""
