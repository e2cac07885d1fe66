"""What the rest of the daemon asks about models: is it here, who has it, bring it here."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final, TypeVar, final

from mathcore.band import Band
from mathcore.planner.loading import transfer_ms
from mesh.api.errors import RequestError
from mesh.config import Config
from mesh.edge.disk import StoreError
from mesh.edge.models.answers import (
    Progress,
    is_here,
    on_loop,
    only_content,
    refused,
    seen,
)
from mesh.edge.models.around import Around, Copy, Member, by_id, by_name
from mesh.edge.models.fetch import Fetch, Fetcher, pinned
from mesh.edge.models.hashing import Hashing
from mesh.edge.models.line import Stopped
from mesh.edge.models.local import Here, LocalModels, only, unknown
from mesh.edge.models.rates import Rates
from mesh.edge.peering.mesh import Mesh
from mesh.state.state import State
from providers.base import ModelError
from providers.durable import read_json, write_json
from providers.models.identity import ModelIdentity, identity_from_json
from providers.models.incoming import WANTED
from providers.models.limits import is_metered

T = TypeVar("T")
FETCHES: Final = 2  # at a time: more only share the receiver's core and the line
MAX_FETCHES: Final = 64  # remembered, running or ended
# A pull that a cut or a restart ended is taken up again so often.
RETRY_S: Final = 60.0
FIRST_RETRY_S: Final = 0.5  # at a start the members are not known yet
METERED_S: Final = 60.0  # how long NetworkManager's word holds
# Why a pull failed that is tried again by itself; all else is a person's business.
AGAIN: Final = ("Unreached", "Unanswered", "Metered", "Busy")
LOOPBACK: Final = ("127.", "::1", "localhost")


@final
class Models:
    """Models on this peer and their travel. Made at the start; `run` lives as long as the node."""

    def __init__(
        self, home: Path, config: Config, mesh: Mesh | None, state: Callable[[], State]
    ) -> None:
        self.local: Final = LocalModels(home, config.models)
        self.rates: Final = Rates(home / "models.rates.json")
        self.around: Final = Around(mesh, state, self.rates.of)
        self.hashing: Final = Hashing(self.local)
        self.config: Final = config
        self._fetcher = Fetcher(
            self.local, config.models_disk_bytes, config.models_rate, self.rates
        )
        self._fetches: dict[str, Fetch] = {}
        self._tasks: dict[str, asyncio.Task[Path]] = {}
        self._threads = ThreadPoolExecutor(FETCHES, thread_name_prefix="models")
        self._looking = ThreadPoolExecutor(1, thread_name_prefix="models-look")
        self._metered: tuple[float, bool | None] = (-METERED_S, None)
        self._metered_lock = threading.Lock()

    # For other rooms.

    async def have(self, ref: str) -> Path | None:
        """What an engine is given for a model that is here: a content id, a name or a path."""
        found = await self.find(ref)
        return found[0].model.path if found else None

    async def identity_of(self, path: Path) -> ModelIdentity:
        """The identity of the model at a path on this machine; RequestError where that is none."""
        found = await self.look(self.local.at_path, str(path))
        if found is None:
            raise unknown(str(path), "at that path")
        return found.identity

    async def ensure(
        self,
        identity: ModelIdentity,
        from_key: bytes | None = None,
        progress: Progress | None = None,
        *,
        metered: bool = False,
    ) -> Path:
        """The model's path here, fetched where it is missing; RequestError where it can't be.

        Calls for one model share one fetch, which stops when nobody waits for it any more; what
        came stays for the next. `from_key` None: from the nearest member that has it. `metered`: a
        person said that it may come over a line that costs by the byte.
        """
        here = await self.look(self.local.by_id, identity.quick_hash)
        if here is not None:
            return here.model.path
        member = await self._sender(identity, from_key)
        fetch, task = self._begin(identity, member, metered=metered)
        if progress is not None:
            fetch.listeners.append(on_loop(progress))
        fetch.waiting += 1
        try:
            return await asyncio.shield(task)
        finally:
            fetch.waiting -= 1
            if not fetch.waiting and not fetch.wanted:
                fetch.stop.set()

    def transfer_ms(self, size_bytes: int, from_key: bytes) -> Band:
        """How long so many bytes take from a member, as far as anybody knows, in ms."""
        return transfer_ms(size_bytes, 0, self.rates.of(from_key.hex()))

    async def who_has(self, model_id: str) -> list[Copy]:
        """The copies of a content at other members, the nearest first."""
        return (await self.around.who_has(by_id(model_id)))[0]

    # For a person.

    async def find(self, ref: str) -> list[Here]:
        """The models here that a reference means."""
        return await self.look(self.local.find, ref)

    async def pull(self, ref: str, from_peer: str, *, metered: bool) -> dict[str, object]:
        """Begin to bring a model here, or say that it is; the row of its fetch."""
        here = await self.find(ref)
        if here:
            return is_here(only(here, ref))
        member = self.around.named(from_peer) if from_peer else None
        copies = await self._copies(ref, member)
        chosen = only_content(copies, ref)
        await self._refuse_metered(chosen.member, metered=metered)
        return self.want(chosen.identity, chosen.member, metered=metered).row()

    async def push(self, ref: str, to: str) -> dict[str, object]:
        """Ask a member to fetch a model from here; the row of its fetch there."""
        member = self.around.named(to)
        found = await self.find(ref)
        if not found:
            raise unknown(ref, "on this machine")
        body: dict[str, object] = {"model": only(found, ref).identity.to_json()}
        return {
            **await self.around.ask(member, "POST", "/v1/models/fetch", body),
            "to": member.name,
        }

    async def accept(self, value: object, key: bytes) -> dict[str, object]:
        """Fetch what a member offers, from itself, within our own limits."""
        try:
            identity = identity_from_json(value)
        except ValueError as error:
            raise RequestError("BadField", str(error)) from error
        here = await self.look(self.local.by_id, identity.quick_hash)
        if here is not None:
            return is_here(here)
        member = self.around.member(key)
        await self._refuse_metered(member, metered=False)
        return self.want(identity, member, metered=False).row()

    def want(self, identity: ModelIdentity, member: Member, *, metered: bool) -> Fetch:
        """Fetch a model whoever waits for it, and go on after a restart."""
        folder = self.local.folder(identity.quick_hash)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        said = {"model": identity.to_json(), "from": member.key.hex(), "metered": metered}
        write_json(folder / WANTED, said)
        fetch, task = self._begin(identity, member, metered=metered)
        fetch.wanted = True
        task.add_done_callback(seen)
        return fetch

    def fetches(self) -> list[dict[str, object]]:
        """Every fetch of this daemon's life, the newest last."""
        return [one.row() for one in self._fetches.values()]

    def fetch(self, model_id: str) -> dict[str, object]:
        """One fetch; RequestError for none."""
        found = self._fetches.get(model_id)
        if found is None:
            raise RequestError("NotFound", f"nothing fetches {model_id[:40]!r}", "", 404)
        return found.row()

    async def remove(self, ref: str, *, only_look: bool) -> dict[str, object]:
        """Remove a model that was fetched, or that a person names by its path."""
        running = [f for key, f in self._fetches.items() if not self._tasks[key].done()]
        for one in running:
            if ref in (one.identity.quick_hash, one.identity.name):
                return await self._give_up(one, only_look=only_look)
        if only_look:
            return await self.look(self.local.removable, ref)
        return await self.look(self.local.remove, ref)

    async def _give_up(self, fetch: Fetch, *, only_look: bool) -> dict[str, object]:
        """Stop a fetch and remove what came."""
        model_id, folder = fetch.identity.quick_hash, self.local.folder(fetch.identity.quick_hash)
        if only_look:
            return {"id": model_id, "name": fetch.identity.name, "path": str(folder)}
        fetch.stop.set()
        await asyncio.wait([self._tasks[model_id]])
        return await self.look(self.local.drop, model_id, fetch.identity.name)

    # Life.

    async def run(self) -> None:
        """Take up what a restart or a cut ended, and hash files while nobody asks for them."""
        background = asyncio.create_task(self.hashing.run())
        pause_s = FIRST_RETRY_S
        try:
            while True:
                with suppress(OSError):  # a folder that can't be read now
                    await self._take_up()
                await asyncio.sleep(pause_s)
                pause_s = min(RETRY_S, 2 * pause_s)
        finally:
            background.cancel()
            self.close()

    def close(self) -> None:
        """Stop every fetch; what came is kept."""
        for one in self._fetches.values():
            one.stop.set()
        self.hashing.close()
        for pool in (self._threads, self._looking):
            pool.shutdown(wait=False, cancel_futures=True)

    async def _take_up(self) -> None:
        for folder in await self.look(self._unfinished):
            said = read_json(folder / WANTED) or {}
            task = self._tasks.get(folder.name)
            if task is not None and not task.done():
                continue
            with suppress(ValueError, RequestError, StoreError):
                identity = identity_from_json(said.get("model"))
                member = self.around.member(bytes.fromhex(str(said.get("from"))))
                if self.around.places(member.key) and identity.quick_hash == folder.name:
                    self.want(identity, member, metered=said.get("metered") is True)

    def _unfinished(self) -> list[Path]:
        return [one.parent for one in self.local.fetched.glob(f"*/{WANTED}")]

    async def look(self, call: Callable[..., T], *args: Any) -> T:
        """Ask the disk, in the one thread that does."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._looking, partial(call, *args))

    def _begin(
        self, identity: ModelIdentity, member: Member, *, metered: bool
    ) -> tuple[Fetch, asyncio.Task[Path]]:
        """The running fetch of a content, begun now where there is none."""
        key = identity.quick_hash
        task = self._tasks.get(key)
        if task is not None and not task.done() and not self._fetches[key].stop.is_set():
            return self._fetches[key], task
        self._forget_ended()
        fetch = Fetch(identity, member.name, member.key.hex())
        self._fetches.pop(key, None)
        self._fetches[key] = fetch
        before = task if task is not None and not task.done() else None
        self._tasks[key] = asyncio.create_task(
            self._fetched(fetch, member, before, metered=metered)
        )
        return fetch, self._tasks[key]

    def _forget_ended(self) -> None:
        ended = [key for key in self._fetches if self._tasks[key].done()]
        for key in ended[: max(0, len(self._fetches) + 1 - MAX_FETCHES)]:
            del self._fetches[key], self._tasks[key]
        if len(self._fetches) >= MAX_FETCHES:
            raise RequestError("Busy", f"{MAX_FETCHES} models are being fetched", "wait", 503)

    async def _fetched(
        self, fetch: Fetch, member: Member, before: asyncio.Task[Path] | None, *, metered: bool
    ) -> Path:
        """One fetch from its first try to its end; its state says the same as the outcome."""
        if before is not None:  # a fetch that was stopped still closes its files
            await asyncio.wait([before])
        try:
            await self._refuse_metered(member, metered=metered)
            loop = asyncio.get_running_loop()
            connect = partial(self._connect, loop, member)
            run = partial(self._fetcher.run, fetch, connect)
            await loop.run_in_executor(self._threads, run)
        except Stopped as error:
            fetch.state = "stopped"
            raise RequestError("Stopped", f"{fetch.identity.name}: stopped", "", 409) from error
        except (RequestError, ModelError, StoreError, OSError) as error:
            why = refused(error)
            fetch.code, fetch.text, fetch.hint = why.code, why.text, why.hint
            fetch.state = "failed"
            if why.code not in AGAIN:
                self._unwant(fetch)
            raise why from error
        here = await self.look(self.local.by_id, fetch.identity.quick_hash)
        if here is None:
            fetch.text, fetch.state = "it was removed while it came", "failed"
            raise RequestError("Gone", fetch.text, "pull it again", 409)
        self._unwant(fetch)
        fetch.state = "done"
        return here.model.path

    def _unwant(self, fetch: Fetch) -> None:
        """It is here, or won't come however often it is tried."""
        (self.local.folder(fetch.identity.quick_hash) / WANTED).unlink(missing_ok=True)

    def _connect(self, loop: asyncio.AbstractEventLoop, member: Member) -> HTTPConnection:
        """Called in the fetching thread: who is a member, and where, is known to the loop."""

        async def places() -> Any:
            return self.around.places(member.key)

        found = asyncio.run_coroutine_threadsafe(places(), loop).result(10.0)
        return pinned(found, member.key)

    async def _sender(self, identity: ModelIdentity, from_key: bytes | None) -> Member:
        if from_key is not None:
            return self.around.member(from_key)
        copies = await self.who_has(identity.quick_hash)
        if not copies:
            raise unknown(identity.name, "at any peer that answers")
        return copies[0].member

    async def _copies(self, ref: str, member: Member | None) -> list[Copy]:
        if member is not None:
            found = await self.around.copies(member, by_name(ref))
            if not found:
                raise unknown(ref, f"at {member.name}")
            return found
        found, silent = await self.around.who_has(by_name(ref))
        if not found:
            names = ", ".join(one.member.name for one in silent[:4])
            raise unknown(
                ref, f"at any peer that answers; silent: {names}" if names else "anywhere"
            )
        return found

    async def is_metered(self) -> bool:
        """Whether this machine's line costs by the byte, by its settings or the system's word."""
        if self.config.metered != "auto":
            return self.config.metered == "yes"
        return bool(await asyncio.to_thread(self._asked_metered))

    def _asked_metered(self) -> bool | None:
        with self._metered_lock:
            at, said = self._metered
            if time.monotonic() - at >= METERED_S:
                said = is_metered()
                self._metered = (time.monotonic(), said)
            return said

    async def _refuse_metered(self, member: Member, *, metered: bool) -> None:
        """A line that costs by the byte is a person's to spend."""
        places = self.around.places(member.key)
        near = bool(places) and places[0][0][0].startswith(LOOPBACK)
        if not metered and not near and await self.is_metered():
            text = "this machine's line is metered: models come over it only where you say so"
            raise RequestError("Metered", text, "fleet models pull MODEL --metered", 409)
