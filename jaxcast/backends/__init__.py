"""The one room that knows backends: which program runs where, and what makes each of them fast."""
