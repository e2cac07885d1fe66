"""One account at a cloud: from the order to the proof that nothing is left of it."""
