"""Lines of real machines' logs and their peaks, against the planner's bytes."""
