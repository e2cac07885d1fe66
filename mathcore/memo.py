"""Answers worked out once: the one kind of cache here, bounded and emptied as a whole when full."""

from typing import Generic, TypeVar, final

V = TypeVar("V")


@final
class Memo(Generic[V]):
    """Up to `limit` values by key; one more empties it first.

    Some answers belong to an object too large to hash (a ModelSpec). Its id() then stands in the
    key and the object is given as `owner`: the memo holds it, so that its id stays its own, and
    answers for that very object only. None is no value: keep a tuple where None is an answer.
    """

    __slots__ = ("held", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held: dict[object, tuple[object, V]] = {}

    def get(self, key: object, owner: object = None) -> V | None:
        """The value kept under `key` for `owner`; None where there is none."""
        found = self.held.get(key)
        if found is None or found[0] is not owner:
            return None
        return found[1]

    def put(self, key: object, value: V, owner: object = None) -> V:
        """Keeps `value` under `key` and gives it back."""
        if len(self.held) >= self.limit:
            self.held.clear()
        self.held[key] = (owner, value)
        return value
