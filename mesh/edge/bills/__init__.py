"""Bills on disk: rows of what ran and what it cost, made from the ledger; never the only copy."""
