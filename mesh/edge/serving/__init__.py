"""This peer's part in answering requests: its keys, and what it tells of their use."""
