"""Commands about accounts at clouds, and what they rent."""
