"""Linear algebra and polynomials without a model in them."""
