"""Commands for the series of a table."""
