"""The command `jaxcast hub`."""
