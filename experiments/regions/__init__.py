"""Influenza-like illness in several regions."""
