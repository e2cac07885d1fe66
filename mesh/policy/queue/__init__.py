"""Who starts next on the devices one peer owns: a pure function of what waits, runs and is free."""
