"""`fleet keys` and `fleet usage`."""
