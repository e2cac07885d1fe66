"""Days as tables write them."""

from datetime import UTC, datetime


def day_ms(date: str) -> int:
    """The begin of a day, "2026-07-20", in milliseconds UTC."""
    return int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp()) * 1000
