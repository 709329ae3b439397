"""Recurrent layers on a GPU or TPU: the whole loop over time is one kernel.

XLA alone launches kernels for each step, and the carry goes through the device's memory. Here a
block of sequences keeps its carry where it computes.
"""
