"""Another peer as the owner of its devices: the same questions, over its TLS link."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar, final

import msgspec

from mesh.api.errors import RequestError
from mesh.api.wire.claims import Ask, Claim, Lease, Leases, Offer, Part

Call = Callable[[bytes, str, str, Mapping[str, object] | None], Awaitable[Any]]
Said = TypeVar("Said", Offer, Lease, Leases, Part)


@final
class RemoteOwner:
    """The owner that has a key. `call` asks it, and says so where nothing was answered."""

    def __init__(self, key: bytes, call: Call) -> None:
        self._key: Final = key
        self._call: Final = call

    async def offer(self, home: str, ask: Ask) -> Offer:
        """A place held there."""
        return _read(await self._post("/v1/offers", ask), Offer)

    async def claim(self, home: str, claim: Claim) -> Lease:
        """The lease; Unanswered where nobody knows."""
        return _read(await self._post("/v1/claims", claim), Lease)

    async def withdraw(self, home: str, job_id: str, attempt: int) -> Lease:
        """End it, or see that it never begins."""
        said = await self._call(self._key, "POST", f"{_of(job_id, attempt)}/withdraw", {})
        return _read(said, Lease)

    async def release(self, home: str, offer_id: str) -> None:
        """Give an offer back."""
        await self._call(self._key, "POST", f"/v1/offers/{offer_id}/release", {})

    async def status(self, home: str, job_id: str, attempt: int) -> Lease:
        """How an attempt stands there."""
        return _read(await self._call(self._key, "GET", _of(job_id, attempt), None), Lease)

    async def waiting(self, home: str) -> Leases:
        """What of ours waits there, and why."""
        return _read(await self._call(self._key, "GET", "/v1/claims", None), Leases)

    async def output(
        self, home: str, job_id: str, attempt: int, name: str, offset: int, wait_s: float
    ) -> Part:
        """Some of what it wrote."""
        path = f"{_of(job_id, attempt)}/output/{name}?offset={offset}&wait_ms={int(wait_s * 1000)}"
        return _read(await self._call(self._key, "GET", path, None), Part)

    async def _post(self, path: str, value: Ask | Claim) -> Any:
        return await self._call(self._key, "POST", path, msgspec.to_builtins(value))


def _of(job_id: str, attempt: int) -> str:
    return f"/v1/claims/{job_id}/{attempt}"


def _read(said: Any, kind: type[Said]) -> Said:
    """The answer, checked: another peer may say anything."""
    try:
        return msgspec.convert(said, kind)
    except msgspec.ValidationError as error:
        text = "the peer's answer is not understood"
        raise RequestError("BadAnswer", text, "see fleet doctor", 502) from error
