"""Owned, rented or an API, for an amount of tokens a day: what each costs, and from where on one is
cheaper than another. Pure: plans and prices come in, rows go out."""
