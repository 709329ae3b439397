"""Saved models: settings, arrays, and back."""
