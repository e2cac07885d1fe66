"""What the ledger knows of machines to rent: prices by kind of machine, now and over a week."""
