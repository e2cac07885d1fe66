"""Models as content: what one is, where it lies on this machine, how a copy is taken in."""
