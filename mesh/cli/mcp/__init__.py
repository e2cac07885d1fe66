"""`fleet mcp`: the fleet as tools of a program that speaks the Model Context Protocol."""
