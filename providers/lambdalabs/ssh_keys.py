"""Our public key in the account: a launch takes the name of exactly one that is registered.

To register is done by a request of its own before the launch, and may be repeated: whoever looks
finds the key by its content. So what fails here has made no machine.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from providers.lambdalabs.errors import failed, unread
from providers.lambdalabs.profile import API
from providers.lambdalabs.reading import items
from providers.rental.contract import Refused, Reply, Request, Unclear, Unread
from providers.rental.reading import mapping

PATH: Final = f"{API}/ssh-keys"
PREFIX: Final = "fleet-"
DIGEST_BYTES: Final = 10  # of a key: names that two keys share by chance do not happen
MAX_NAME: Final = 64  # as its OpenAPI has it


def body_of(public_key: str) -> str:
    """The kind and the key of an OpenSSH line, without its comment: what makes two the same."""
    return " ".join(public_key.split()[:2])


def name_of(public_key: str) -> str:
    """The name it gets: the same for the same key, on every peer."""
    return PREFIX + blake2b(body_of(public_key).encode(), digest_size=DIGEST_BYTES).hexdigest()


def look() -> Request:
    """All keys of the account."""
    return Request(op="keys", method="GET", path=PATH)


def add(public_key: str) -> Request:
    """Register it."""
    body = {"name": name_of(public_key), "public_key": body_of(public_key)}
    return Request(op="keys", method="POST", path=PATH, body=body)


def found(reply: Reply, public_key: str) -> str | Unread:
    """The name under which it is registered, whoever gave it; "" where it is not."""
    data = items(mapping(reply.body).get("data"))
    if reply.status != 200 or data is None:
        return unread(reply)
    wanted = body_of(public_key)
    names = [_name(one) for one in data if _is(one, wanted)]
    return min((name for name in names if name), default="")


def added(reply: Reply, public_key: str) -> str | Refused | Unclear:
    """The name of the key that was registered now."""
    data = mapping(reply.body).get("data")
    if reply.status == 200 and _is(data, body_of(public_key)) and (name := _name(data)):
        return name
    return failed(reply)


def _is(one: object, wanted: str) -> bool:
    said = mapping(one).get("public_key")
    return isinstance(said, str) and body_of(said) == wanted


def _name(one: object) -> str:
    """A name as it must be sent back, letter for letter; "" of what can be none."""
    name = mapping(one).get("name")
    return name if isinstance(name, str) and 0 < len(name) <= MAX_NAME else ""
