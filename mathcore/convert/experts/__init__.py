"""Plain attention, and experts in some layers."""
