"""Commands that look after this machine's daemon and its state."""
