"""Networks that forecast origin-destination matrices."""
