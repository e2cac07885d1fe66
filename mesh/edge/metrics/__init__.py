"""`GET /metrics`: the fleet for Prometheus."""
