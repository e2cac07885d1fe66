"""Accounts at clouds: what they can rent and for how much, and what is rented until it is gone."""
