"""What the ledger knows of answering requests: keys, services, and what was used."""
