"""Trained forecasters of series that are the nodes of graphs."""
