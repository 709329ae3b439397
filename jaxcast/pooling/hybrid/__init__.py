"""Hybrids: a base forecast plus a residual that is learned from candidates, errors and delays."""
