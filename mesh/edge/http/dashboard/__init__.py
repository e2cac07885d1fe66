"""This machine's dashboard: its pages, and how a browser gets in without the token."""
