"""Vast.ai: its replies read into the contract's values, its requests written; a subject a file."""
