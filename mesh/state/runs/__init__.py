"""What ran where, on which hardware, for whom: rows as the owners of devices said it, of which
bills are made. They are kept for ever, unlike jobs, and hold no more than a bill needs."""
