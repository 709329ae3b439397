"""Linear algebra, least squares, polynomials and delay embedding."""
