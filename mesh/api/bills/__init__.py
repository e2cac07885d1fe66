"""Bills for people and other programs: JSON as the seed shows it, and FOCUS."""

from typing import Final

# What a bill can be added up by. Here, where it costs a command's start nothing.
GROUPINGS: Final = (
    "day", "month", "device", "owner", "user", "key", "model", "engine", "kind", "job",
)  # fmt: skip
