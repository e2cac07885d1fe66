"""One model on its way here: tried until it is whole, refused for good, or not wanted any more."""

import errno
import http.client
import shutil
import ssl
import threading
import time
from collections.abc import Callable
from typing import Final, final

from mathcore.band import Band
from mathcore.planner.loading import transfer_ms
from mesh.api.errors import RequestError
from mesh.edge.models.line import Line, Pinned, Stopped
from mesh.edge.models.local import LocalModels
from mesh.edge.models.rates import HASHING, Rates
from mesh.state.address import Address
from providers.models.identity import ModelIdentity, Part
from providers.models.incoming import BadChunk, Incoming, clear, taken_bytes
from providers.models.limits import Throttle, refused_disk
from providers.models.manifest import Manifest

# Tries in a row that brought nothing: a peer that restarts needs some seconds, not a minute.
MAX_TRIES: Final = 9
FIRST_PAUSE_S: Final = 0.25
LAST_PAUSE_S: Final = 10.0
HASH_BYTES_PER_S: Final = 1_000_000_000  # a sender that must hash first: its disk, and one core
MEGABYTE: Final = 1_000_000
# A transfer this short says nothing about a line.
LEAST_MEASURED_BYTES: Final = 32 * MEGABYTE
LEAST_HASHING_S: Final = 0.2


@final
class Fetch:
    """The state of one transfer. The thread writes it, others read; each field is one value."""

    def __init__(self, identity: ModelIdentity, sender: str, key: str) -> None:
        self.identity: Final = identity
        self.sender: Final = sender
        self.key: Final = key  # the sender's, in hex
        self.stop: Final = threading.Event()
        self.state = "waiting"  # hashing, fetching, checking; done, failed, stopped
        self.got_bytes = 0  # verified and on disk
        self.received_bytes = 0  # over the line, in this life of the daemon
        self.hashed_bytes = 0  # by the sender, before it can begin
        self.predicted: Band | None = None  # ms from the start, as known at the start
        self.took_ms = 0
        self.fetching_ms = 0  # of that, bytes over the line, in the last connection
        self.began_s = 0.0
        self.code = self.text = self.hint = ""  # why it failed
        self.waiting = 0  # calls that wait for it; without any, and not wanted, it stops
        self.wanted = False  # a person pulled it, or a peer pushed it
        self.listeners: Final[list[Callable[[int, int], None]]] = []

    def row(self) -> dict[str, object]:
        """As the API shows it; what is not known is null."""
        band = self.predicted
        spent_ms = int(1000 * (time.monotonic() - self.began_s)) if self.began_s else 0
        return {
            "id": self.identity.quick_hash,
            "name": self.identity.name,
            "from": self.sender,
            "state": self.state,
            "size_bytes": self.identity.size_bytes,
            "got_bytes": self.got_bytes,
            "received_bytes": self.received_bytes,
            "hashed_bytes": self.hashed_bytes,
            "predicted_ms": None
            if band is None
            else {"p10": round(band.p10), "p50": round(band.p50), "p90": round(band.p90)},
            "fetching_ms": self.fetching_ms,
            "took_ms": self.took_ms or spent_ms,
            "code": self.code,
            "text": self.text,
            "hint": self.hint,
        }

    def received(self, size: int) -> None:
        """Bytes came over the line."""
        self.received_bytes += size

    def took(self, size: int) -> None:
        """A chunk is verified."""
        self.got_bytes += size
        for one in list(self.listeners):
            one(self.got_bytes, self.identity.size_bytes)


@final
class Fetcher:
    """Runs fetches, each in the thread that calls `run`."""

    def __init__(self, local: LocalModels, disk_bytes: int, rate: int, rates: Rates) -> None:
        self._local, self._disk_bytes, self._rate = local, disk_bytes, rate
        self._rates = rates

    def run(self, fetch: Fetch, connect: Callable[[], http.client.HTTPConnection]) -> None:
        """Fetch until the model is here.

        ModelError, RequestError, OSError where it won't come; Stopped.
        """
        identity = fetch.identity
        fetch.began_s = time.monotonic()
        self._refuse_full(identity)
        throttle, tries = Throttle(self._rate), 0
        while True:
            before = fetch.received_bytes
            try:
                self._try(fetch, connect, throttle)
                break
            except (OSError, http.client.HTTPException) as error:
                if _is_disk(error):
                    raise
                tries = 1 if fetch.received_bytes > before else tries + 1
                if tries >= MAX_TRIES:
                    raise _unreached(fetch.sender, error) from error
            if fetch.stop.wait(min(LAST_PAUSE_S, FIRST_PAUSE_S * 2 ** (tries - 1))):
                raise Stopped
        fetch.took_ms = int(1000 * (time.monotonic() - fetch.began_s))

    def _refuse_full(self, identity: ModelIdentity) -> None:
        folder = self._local.folder(identity.quick_hash)
        here = taken_bytes(folder)
        why = refused_disk(
            max(0, identity.size_bytes - here),
            taken=self._local.taken_bytes(),
            limit=self._disk_bytes,
            free=shutil.disk_usage(self._local.fetched).free,
        )
        if why:
            raise RequestError("DiskLimit", f"{identity.name} is too large: {why}", ROOM, 409)

    def _try(
        self, fetch: Fetch, connect: Callable[[], http.client.HTTPConnection], throttle: Throttle
    ) -> None:
        """One connection, as far as it gets."""
        connection, model_id = connect(), fetch.identity.quick_hash
        line = Line(connection, model_id, fetch.sender, throttle, fetch.stop, fetch.received)
        try:
            began = time.monotonic()
            manifest = line.manifest(lambda done: self._hashing(fetch, done))
            self._note_hashing(fetch, time.monotonic() - began)
            self._refuse_other(fetch, manifest)
            self._receive(fetch, line, manifest)
        finally:
            line.close()

    def _hashing(self, fetch: Fetch, done: int) -> None:
        fetch.state, fetch.hashed_bytes = "hashing", done
        if fetch.predicted is None:
            known = self._rates.of(HASHING + fetch.key) // 8 or HASH_BYTES_PER_S
            self._predict(
                fetch, fetch.identity.size_bytes, 1000 * fetch.identity.size_bytes / known
            )

    def _note_hashing(self, fetch: Fetch, spent_s: float) -> None:
        """How fast the sender hashes, where it had to and that took a while."""
        if fetch.hashed_bytes and spent_s >= LEAST_HASHING_S:
            self._rates.note(HASHING + fetch.key, int(8 * fetch.identity.size_bytes / spent_s))

    def _predict(self, fetch: Fetch, left: int, before_ms: float = 0.0) -> None:
        band = transfer_ms(left, 0, self._bps(fetch.key))
        fetch.predicted = Band(
            p10=band.p10 + before_ms, p50=band.p50 + before_ms, p90=band.p90 + before_ms
        )

    def _bps(self, key: str) -> int:
        """The line's bits a second as measured, within what the settings allow; 0 for unknown."""
        measured, most = self._rates.of(key), 8 * self._rate
        return min(measured, most) if measured and most else measured or most

    def _refuse_other(self, fetch: Fetch, manifest: Manifest) -> None:
        """The manifest must be of the model that was asked for."""
        wanted = fetch.identity
        if tuple(one.file for one in manifest.files) != wanted.files:
            raise _liar(fetch.sender, "its files are not those it named")
        if wanted.root and wanted.root != manifest.root:
            raise _liar(fetch.sender, "its content is not the one that was asked for")

    def _receive(self, fetch: Fetch, line: Line, manifest: Manifest) -> None:
        incoming = Incoming(self._local.folder(fetch.identity.quick_hash), manifest)
        try:
            fetch.got_bytes = incoming.got_bytes
            if fetch.predicted is None:
                self._predict(fetch, manifest.size_bytes - fetch.got_bytes)
            fetch.state, began, before = "fetching", time.monotonic(), fetch.received_bytes
            line.fetch(incoming, fetch.took)
            spent = time.monotonic() - began
        except BadChunk as error:
            incoming.close()
            raise RequestError("BadChunk", error.text, error.hint, 502) from error
        except Exception as error:
            incoming.close(durable=not _is_disk(error))
            raise
        fetch.state = "checking"
        self._finish(fetch, incoming, manifest)
        came, fetch.fetching_ms = fetch.received_bytes - before, int(1000 * spent)
        if came >= LEAST_MEASURED_BYTES and spent > 0:
            self._rates.note(fetch.key, int(8 * came / spent))

    def _finish(self, fetch: Fetch, incoming: Incoming, manifest: Manifest) -> None:
        """Whole files, checked against the id that was asked for."""
        said = ModelIdentity(
            name=fetch.identity.name,
            size_bytes=fetch.identity.size_bytes,
            quick_hash=fetch.identity.quick_hash,
            files=fetch.identity.files,
            root=manifest.root,
        )
        incoming.finish()
        parts = _parts(incoming, manifest)
        for part, one in zip(parts, manifest.files, strict=True):
            self._local.known.note(part.path, one.hashes)
        found = self._local.known.identity(said.name, parts)
        if found.quick_hash != said.quick_hash:
            clear(incoming.folder)
            raise _liar(fetch.sender, "what it sent is not the model that was asked for")
        incoming.seal(said)
        self._local.forget()


DISK_ERRORS: Final = (errno.EIO, errno.EFBIG, errno.ENOSPC, errno.EROFS, errno.EDQUOT)
ROOM: Final = "fleet models rm MODEL, or a larger models_disk in fleet.toml"


def _parts(incoming: Incoming, manifest: Manifest) -> tuple[Part, ...]:
    names = [one.file.name for one in manifest.files]
    return tuple(Part(name=name, path=incoming.folder / name) for name in names)


def _is_disk(error: BaseException) -> bool:
    """Whether our disk failed, not the line: its errors name a file, or say that it is full."""
    return isinstance(error, OSError) and (error.filename is not None or error.errno in DISK_ERRORS)


def _unreached(sender: str, error: Exception) -> RequestError:
    why = str(error) or type(error).__name__
    return RequestError(
        "Unreached", f"{sender} is not reached: {why}", "what came is kept: pull it again", 504
    )


def _liar(sender: str, what: str) -> RequestError:
    return RequestError("BadModel", f"{sender}: {what}", "pull it from another peer", 502)


def pinned(places: list[tuple[Address, ssl.SSLContext]], key: bytes) -> http.client.HTTPConnection:
    """A connection to the first place that answers with that key; OSError with the last reason."""
    why: OSError = ConnectionError("nobody knows where it is")
    for address, context in places:
        connection = Pinned(address, context, key)
        try:
            connection.connect()
        except OSError as error:
            why = error
            continue
        return connection
    raise why
