"""Gradient training: optimizers, checkpoints, selection."""
