"""Commands of panels: many series of unequal length."""
