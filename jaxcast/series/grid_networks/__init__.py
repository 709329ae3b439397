"""Networks whose series are the cells of a grid."""
