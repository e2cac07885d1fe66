"""Typed reads of a config; any fault is a SpecError that names the field.

An absent field is filled only where the model's own library defines its value; never guessed.
"""

from typing import final

from mathcore.model.spec import SpecError

# Far above any released model, far below what would cost us memory to describe.
MAX_SIZE = 1 << 24  # any one dimension
MAX_LAYERS = 1024


@final
class Fields:
    """A mapping read field by field; `prefix` is how errors name a nested one."""

    def __init__(self, values: dict[str, object], prefix: str = "") -> None:
        self.values = values
        self.prefix = prefix

    def fault(self, field: str, text: str) -> SpecError:
        """The error that names `field` with its prefix; for the caller to raise."""
        return SpecError(self.prefix + field, text)

    def has(self, field: str) -> bool:
        """Present and not null."""
        return self.values.get(field) is not None

    def integer(self, field: str, least: int = 1, most: int = MAX_SIZE) -> int:
        """An int from `least` to `most`."""
        value = self.values.get(field)
        if value is None:
            raise self.fault(field, "is missing")
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.fault(field, "is not a whole number")
        if value < least or value > most:
            raise self.fault(field, f"must be between {least} and {most}")
        return value

    def integer_or(self, field: str, default: int, least: int = 1, most: int = MAX_SIZE) -> int:
        """As `integer`; `default` where the field is absent or null."""
        return self.integer(field, least, most) if self.has(field) else default

    def number(self, field: str) -> float:
        """An int or float."""
        value = self.values.get(field)
        if value is None:
            raise self.fault(field, "is missing")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.fault(field, "is not a number")
        return float(value)

    def flag_or(self, field: str, *, default: bool) -> bool:
        """true or false; `default` where the field is absent or null."""
        value = self.values.get(field)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.fault(field, "is not true or false")
        return value

    def text(self, field: str) -> str:
        """A string."""
        value = self.values.get(field)
        if value is None:
            raise self.fault(field, "is missing")
        if not isinstance(value, str):
            raise self.fault(field, "is not text")
        return value

    def texts(self, field: str, count: int) -> list[str]:
        """Exactly `count` names."""
        value = self.values.get(field)
        if not isinstance(value, list) or len(value) != count:
            raise self.fault(field, f"is not a list of {count} names")
        out: list[str] = []
        for item in value:
            if not isinstance(item, str):
                raise self.fault(field, f"is not a list of {count} names")
            out.append(item)
        return out

    def integers(self, field: str, count: int, least: int = 0, most: int = MAX_SIZE) -> list[int]:
        """Exactly `count` ints from `least` to `most`."""
        value = self.values.get(field)
        if not isinstance(value, list) or len(value) != count:
            raise self.fault(field, f"is not a list of {count} whole numbers")
        out: list[int] = []
        for item in value:
            if isinstance(item, bool) or not isinstance(item, int) or not least <= item <= most:
                raise self.fault(field, f"is not a list of {count} whole numbers")
            out.append(item)
        return out

    def nested(self, field: str) -> "Fields":
        """The object under `field`; its faults are named field.name."""
        value = self.values.get(field)
        if value is None:
            raise self.fault(field, "is missing")
        if not isinstance(value, dict):
            raise self.fault(field, "is not an object")
        inner: dict[str, object] = {}
        for key, item in value.items():
            inner[str(key)] = item
        return Fields(inner, f"{self.prefix}{field}.")
