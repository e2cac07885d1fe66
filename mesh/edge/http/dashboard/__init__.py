"""The dashboard of this machine's own people: its pages, and how a browser gets in without a token."""
