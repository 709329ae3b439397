"""Commands of classifiers of texts."""
