"""A hub's description of itself, read from its hub-config folder."""
