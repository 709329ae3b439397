"""All output types of a hub: read, pooled and scored."""
