"""Parts of `jaxcast simulate`."""
