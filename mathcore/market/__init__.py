"""What machines to rent typically cost: a dated table, for who was never online."""
