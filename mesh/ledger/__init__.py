"""The ledger's rules: what an event is, who signed it, and whether it may be kept."""
