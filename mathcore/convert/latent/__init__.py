"""Some layer keeps a latent row instead of keys and values."""
