"""What stands in the state directory beside the ledger: the daemon's log; backups of all of it."""
