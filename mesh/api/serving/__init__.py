"""What may be asked about keys and usage, and how they are shown."""
