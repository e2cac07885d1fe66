"""What each engine is told and what its words mean. Pure translation."""
