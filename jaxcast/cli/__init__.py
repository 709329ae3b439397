"""The command `jaxcast`: simulate, train, forecast and evaluate without writing Python."""
