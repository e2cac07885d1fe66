"""Encoders read a text in one pass and keep nothing; T5's decoder attends to one."""
