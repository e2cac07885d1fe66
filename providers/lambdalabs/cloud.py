"""The adapter: a method sends its requests, and the module of its subject reads the replies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

from providers.lambdalabs import ending, launch, listing, offers, ssh_keys
from providers.lambdalabs.errors import CONFLICT
from providers.lambdalabs.profile import PROFILE
from providers.rental.contract import (
    Accepted,
    Ask,
    Balance,
    Charges,
    Created,
    Ended,
    Offer,
    Order,
    Page,
    Profile,
    Refused,
    Rise,
    Unclear,
    Unread,
    Wire,
)

# What a failed registration of our key is called: no machine was asked for.
KEY_STEP: Final = "ssh-key/"
UNKNOWN: Final = "unsupported"
MAX_NAMES: Final = 64  # of our keys that are known to be registered


@final
class LambdaCloud:
    """One account at Lambda Cloud; implements `contract.Cloud`."""

    def __init__(self, wire: Wire, *, ssh_port: int = listing.SSH_PORT) -> None:
        """`ssh_port`: where its machines' sshd answers; another one is for stand-ins."""
        self._wire: Final = wire
        self._ssh_port: Final = ssh_port
        self._names: dict[str, str] = {}  # our public key -> its name in the account
        # Of the last offers: how many types were left out and why, and their names.
        self.left_out: Mapping[offers.LeftOut, int] = {}
        self.left_out_names: tuple[str, ...] = ()

    @property
    def profile(self) -> Profile:
        """What the core must know."""
        return PROFILE

    async def offers(self, ask: Ask) -> tuple[Offer, ...] | Unread:
        """What has capacity now."""
        found = offers.read(await self._wire.send(offers.request()), ask)
        if isinstance(found, Unread):
            return found
        self.left_out, self.left_out_names = found.left_out, found.names
        return found.offers

    async def create(self, order: Order) -> Created:
        """Launch once, after our key is registered. Where that fails nothing was asked for, and the
        code of the refusal begins with "ssh-key/"."""
        name = await self._key_name(order.user_public_key)
        if isinstance(name, Refused):
            return name
        asked = launch.request(order, name)
        if isinstance(asked, Refused):
            return asked
        result = launch.read(await self._wire.send(asked))
        if isinstance(result, Refused):  # perhaps somebody removed the key: look again next time
            self._names.pop(order.user_public_key, None)
        return result

    async def _key_name(self, public_key: str) -> str | Refused:
        """The name of our key in the account, registered first where it is not there."""
        if name := self._names.get(public_key):
            return name
        found = await self._find(public_key)
        if found == "":
            found = await self._register(public_key)
        if isinstance(found, str):
            if len(self._names) >= MAX_NAMES:
                self._names.clear()
            self._names[public_key] = found
        return found

    async def _find(self, public_key: str) -> str | Refused:
        found = ssh_keys.found(await self._wire.send(ssh_keys.look()), public_key)
        return _not_asked(found.why, found.text) if isinstance(found, Unread) else found

    async def _register(self, public_key: str) -> str | Refused:
        """Its name; where another peer was faster it is there, whatever the answer."""
        added = ssh_keys.added(await self._wire.send(ssh_keys.add(public_key)), public_key)
        if isinstance(added, str):
            return added
        if isinstance(added, Unclear):
            return _not_asked(added.code, "")
        if added.code not in ("global/duplicate", "global/invalid-parameters", CONFLICT):
            return _not_asked(added.code, added.text)
        return (await self._find(public_key)) or _not_asked(added.code, added.text)

    async def page(self, after: str) -> Page | Unread:
        """Part of the account's machines."""
        return listing.read(await self._wire.send(listing.request(after)), self._ssh_port)

    async def terminate(self, instance_id: str) -> Ended:
        """Ask for a machine's end; refused while it boots, with the reason as its code."""
        return ending.read(await self._wire.send(ending.request(instance_id)), instance_id)

    async def charges(self, instance_id: str, from_ms: int, to_ms: int) -> Charges | Unread:
        """Nothing: the API has no charges."""
        return Unread(why=UNKNOWN, text="Lambda Cloud's API tells no charges")

    async def balance(self) -> Balance | Unread:
        """Nothing: the API has no balance."""
        return Balance(left_nusd=None)

    async def rises(self) -> tuple[Rise, ...] | Unread:
        """None: prices of running machines are not raised."""
        return ()

    async def refuse(self, rise: Rise) -> Accepted | Refused | Unclear:
        """Nothing to refuse."""
        return Refused(code=UNKNOWN, text="Lambda Cloud raises no prices of running machines")


def _not_asked(why: str, said: str) -> Refused:
    return Refused(code=KEY_STEP + why, text=said)
