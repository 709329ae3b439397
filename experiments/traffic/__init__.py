"""Speeds of road sensors."""
