"""Models travel: what lies here, who else has it, and how it comes."""
