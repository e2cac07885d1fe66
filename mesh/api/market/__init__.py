"""What may be asked of the market, and how its answers look."""
