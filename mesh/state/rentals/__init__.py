"""Rented machines as the ledger tells of them: requests, accounts, lives, money."""
