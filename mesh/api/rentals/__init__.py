"""What may be asked of rented machines, and how they are shown."""
