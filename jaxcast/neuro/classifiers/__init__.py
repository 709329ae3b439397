"""Classifiers of subjects by the series of their regions."""
