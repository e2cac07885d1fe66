"""What to do next about rented machines, and what a provider's replies prove."""
