"""This peer's devices as they are now, and the fleet's."""
