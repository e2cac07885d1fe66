"""Looking after a ledger: lifting old formats, checking, marks of what was checked, repair."""
