"""What hosts print, as facts. Pure: text in, values out; what is not said is None, never 0."""
