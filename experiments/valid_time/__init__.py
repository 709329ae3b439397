"""Leader board of jaxcast.benchmark: every method on every case, and the default that chooses."""
