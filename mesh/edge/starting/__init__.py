"""A daemon's start, where it takes more than a moment: what it does, and who is told meanwhile."""
