"""Plain attention and one feed-forward in every layer."""
