"""Where jobs can run: engines, supervised processes, and what this machine is made of."""
