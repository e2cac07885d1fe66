"""Some layers keep a latent row for each token instead of keys and values."""
