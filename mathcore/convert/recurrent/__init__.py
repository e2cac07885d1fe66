"""Some layer keeps a state of fixed size instead of a row per token."""
