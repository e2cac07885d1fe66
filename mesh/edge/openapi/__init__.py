"""The HTTP API on loopback as one OpenAPI 3.1 document, made from its routes."""
