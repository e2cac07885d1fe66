"""Draining and reserving devices: what is ours is said here, what is another's is asked there."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, final
from urllib.parse import quote

from mesh.api.errors import RequestError
from mesh.api.naming import only_one
from mesh.api.rows import Row, peer_name
from mesh.api.upkeep import (
    DRAIN,
    RESERVE,
    RESUME,
    check_fields,
    drain_reason,
    reserved_time,
    upkeep_row,
)
from mesh.ledger.event import Event
from mesh.state.facts.fact import encode
from mesh.state.facts.upkeep import DeviceDrained, DeviceReserved, DeviceResumed, ReservationEnded
from mesh.state.fleet import DeviceView
from mesh.state.members import ADMIN
from mesh.state.state import State
from mesh.state.upkeep import MAX_RESERVATIONS, Reserved

ID_BYTES: Final = 8  # random: two reservations of one device never share an id

Emit = Callable[[str, str, dict[str, object]], Awaitable[Event]]
Call = Callable[[bytes, str, str, Mapping[str, object]], Awaitable[Any]]


@final
class Upkeep:
    """One peer's side of it. `call` asks another member; None for a peer without a network."""

    def __init__(
        self,
        author: str,
        state: Callable[[], State],
        emit: Emit,
        call: Call | None,
        now: Callable[[], int],
    ) -> None:
        self._author, self._state, self._emit, self._call = author, state, emit, call
        self._now = now

    async def ask(self, verb: str, device: str, body: Mapping[str, object]) -> Row:
        """Our own user wants it: of our device at once, of another's by a call to its owner."""
        check_fields(verb, body)
        found = self._find(device)
        if found.owner == self._author:
            return await self._do(verb, found, body, self._author)
        if self._call is None:
            text = f"{found.name} belongs to another peer, and this one listens to none"
            raise RequestError("Unreachable", text, "fleet doctor", 503)
        path = f"/v1/devices/{quote(found.device_id, safe='')}/{verb}"
        said = await self._call(bytes.fromhex(found.owner), "POST", path, body)
        if not isinstance(said, dict):
            raise RequestError("BadAnswer", "the peer's answer is not understood", "", 502)
        return said

    async def serve(
        self, verb: str, device: str, body: Mapping[str, object], asker: str, role: str
    ) -> Row:
        """Another peer wants it: of our own devices, and from an admin. Nothing is passed on."""
        check_fields(verb, body)
        found = self._find(device)
        if found.owner != self._author:
            text = f"{found.name} does not belong to this peer"
            raise RequestError("NotOwner", text, "ask its owner: fleet devices", 409)
        if role != ADMIN and asker != self._author:
            text = f"only its own user or an admin may {verb} {found.name}"
            raise RequestError("NotOwner", text, "ask the person at that machine", 403)
        return await self._do(verb, found, body, asker)

    def _find(self, device: str) -> DeviceView:
        devices = self._state().devices
        named = [devices[device]] if device in devices else []
        named = named or [one for one in devices.values() if one.name == device]
        hint = "fleet devices lists them"
        return only_one(named, device, kind="device", hint=hint, id_of=lambda one: one.device_id)

    async def _do(
        self, verb: str, device: DeviceView, body: Mapping[str, object], asker: str
    ) -> Row:
        drained = self._state().drained(device.device_id)
        if verb == DRAIN:
            reason = drain_reason(body)
            if drained != reason:  # said twice is said once
                fact = encode(DeviceDrained(reason_code=reason))
                await self._emit("device_drained", device.device_id, fact)
        elif verb == RESUME:
            if drained:
                await self._emit("device_resumed", device.device_id, encode(DeviceResumed()))
        elif verb == RESERVE:
            await self._reserve(device, body, asker)
        else:
            await self._unreserve(device, body, asker)
        return upkeep_row(self._state(), device, self._now())

    def _open(self, device: DeviceView) -> tuple[Reserved, ...]:
        return self._state().reserved(device.device_id, self._now())

    async def _reserve(self, device: DeviceView, body: Mapping[str, object], asker: str) -> None:
        start, until = reserved_time(body, self._now())
        known = self._open(device)
        for one in known:
            if one.by != asker and one.from_ms < until and start < one.until_ms:
                who = peer_name(self._state(), one.by) or one.by[:8]
                text = f"{device.name} is reserved for {who} at that time"
                raise RequestError("Reserved", text, "fleet devices -o json shows until when", 409)
        if len(known) >= MAX_RESERVATIONS:
            text = f"{device.name} has {MAX_RESERVATIONS} reservations, as many as it may"
            raise RequestError("TooMany", text, f"fleet unreserve {device.name}", 409)
        fact = DeviceReserved(
            reservation_id=secrets.token_hex(ID_BYTES), by=asker, from_ms=start, until_ms=until
        )
        await self._emit("device_reserved", device.device_id, encode(fact))

    async def _unreserve(self, device: DeviceView, body: Mapping[str, object], asker: str) -> None:
        """One by its id, or all of whoever asks."""
        wanted = body.get("reservation_id")
        found = [
            one
            for one in self._open(device)
            if (one.by == asker if wanted is None else one.reservation_id == wanted)
        ]
        if not found:
            text = f"{device.name} has no such reservation"
            raise RequestError("NotFound", text, "fleet devices -o json lists them", 404)
        for one in found:
            fact = ReservationEnded(reservation_id=one.reservation_id)
            await self._emit("reservation_ended", device.device_id, encode(fact))
