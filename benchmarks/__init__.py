"""One module for each question about speed: `python -m benchmarks.NAME [--out FILE.json]`."""
