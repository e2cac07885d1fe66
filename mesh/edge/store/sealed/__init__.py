"""Full segments: packed once, then only read."""
