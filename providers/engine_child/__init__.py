"""Programs that hold an engine inside them, so that its crash is only theirs."""
