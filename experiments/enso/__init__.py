"""El Niño: forecasts of many models as they were issued, pooled from a rolling origin."""
