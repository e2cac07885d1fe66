"""Commands about money: what things cost, what they cost an hour, what may be spent."""
