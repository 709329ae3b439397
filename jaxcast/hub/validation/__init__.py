"""The checks that a hub makes before it accepts a submission."""
