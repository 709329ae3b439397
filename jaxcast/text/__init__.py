"""Tokens and language models."""
