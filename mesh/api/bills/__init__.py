"""Bills as rows for people and other programs: JSON as the seed shows it, CSV, FOCUS."""
