"""What the fleet is and costs, as Prometheus reads it: pure, from the rows that people read."""
