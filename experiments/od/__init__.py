"""Experiment: trips between zones."""
