"""What a ledger may hold: one struct per event type, its fields by the names that are signed.

The names in these structs are the format: a field renamed here is another field to every peer and
to every ledger on disk. Everything else may be renamed at will. docs/events.md is made from here.
"""
