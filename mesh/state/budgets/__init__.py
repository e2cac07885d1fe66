"""What the ledger says of budgets: caps, purses, holds, and who spent what was not there."""
