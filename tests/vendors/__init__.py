"""Clients of the providers themselves, in environments of their own, against our stand-ins."""
