"""Some layers keep a state of fixed size instead of a row for each token."""
