"""The models on this machine by content: looked for again now and then, read once each.

Everything here blocks, and belongs in a thread; several may call at a time.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from mesh.api.errors import RequestError
from providers.base import ModelError
from providers.durable import read_json, write_json
from providers.models.finding import LocalModel, model_at, scan
from providers.models.hashing import is_digest
from providers.models.identity import QUICK_DIGITS, ModelIdentity, StatKey, stat_key
from providers.models.incoming import WANTED, clear, taken_bytes, whole_model
from providers.models.known import Known
from providers.models.manifest import Manifest
from providers.models.places import FETCHED, places

# A file that a person just put there is found after this; a scan of a full cache takes 0.1 s.
RESCAN_S: Final = 30.0
# Whoever asks for what is not here has it looked for again, and not more often than this.
LEAST_RESCAN_S: Final = 1.0
# Models outside every known folder that jobs were sent with: a person has some tens of files.
MAX_LENT: Final = 64
LEAST_ID_DIGITS: Final = 8  # of a content id a person may type


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """A model on this disk: where, what, and the state of its files when that was read."""

    model: LocalModel
    identity: ModelIdentity
    keys: tuple[StatKey, ...]

    @property
    def id(self) -> str:
        """Its name between peers: the content's quick hash."""
        return self.identity.quick_hash

    def is_same(self) -> bool:
        """Whether its files are still the ones that were read."""
        try:
            return self.keys == tuple(stat_key(one.path) for one in self.model.parts)
        except OSError:
            return False


@final
class LocalModels:
    """What lies here. `fetched` is our own folder: one folder below it per model, by its id."""

    def __init__(self, home: Path, folders: Sequence[str]) -> None:
        self.fetched: Final = home / "models"
        self.fetched.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.known: Final = Known(home / "models.known")
        self._folders: Final = folders
        self._lock: Final = threading.Lock()
        self._lent: Final = home / "models.lent.json"
        self._all: list[Here] = []
        self._read_s = -RESCAN_S
        self.notes: list[str] = []

    def all(self, *, anew: bool = False) -> list[Here]:
        """Every model here, from the last look unless that is old."""
        with self._lock:
            age_s = time.monotonic() - self._read_s
            if age_s >= (LEAST_RESCAN_S if anew else RESCAN_S):
                found = scan(places(self._folders, self.fetched))
                lent = [self.at_path(path) for path in self.lent()]
                here = [*map(self._read, found.models), *lent]
                self._all = [one for one in here if one is not None]
                self.notes = found.notes
                self._read_s = time.monotonic()
            return list(self._all)

    def lent(self) -> list[str]:
        """Paths of models that a person sent jobs with to other peers, wherever they lie."""
        said = (read_json(self._lent) or {}).get("paths")
        return [path for path in said if isinstance(path, str)] if isinstance(said, list) else []

    def lend(self, path: str) -> None:
        """Let members with the role runner fetch a model from wherever it lies; the newest stay."""
        with self._lock:
            others = [one for one in self.lent() if one != path]
            write_json(self._lent, {"paths": [*others, path][-MAX_LENT:]})
            self._read_s = -RESCAN_S

    def _read(self, model: LocalModel) -> Here | None:
        """None for one that can't be read now: being written, or gone already."""
        try:
            keys = tuple(stat_key(one.path) for one in model.parts)
            identity = self.known.identity(model.name, model.parts)
        except (OSError, ModelError):
            return None
        return Here(model=model, identity=identity, keys=keys)

    def find(self, ref: str) -> list[Here]:
        """The models here that a reference means: a content id, a name, or a path."""
        at = self.at_path(ref)
        if at is not None:
            return [at]
        return self.find_named(ref)

    def find_named(self, ref: str) -> list[Here]:
        """By id or name alone: what another peer asks for opens no path on this machine."""
        found = matching(ref, self.all())
        return found or matching(ref, self.all(anew=True))

    def by_id(self, model_id: str) -> Here | None:
        """A copy of that content which is still as it was read."""
        for anew in (False, True):
            for one in self.all(anew=anew):
                if one.id == model_id and one.is_same():
                    return one
        return None

    def at_path(self, ref: str) -> Here | None:
        """The model at a whole path on this machine; None where that is none."""
        if "\0" in ref or not ref.startswith(("/", "~")) and not Path(ref).is_absolute():
            return None
        try:
            model = model_at(Path(ref).expanduser())
        except (OSError, RuntimeError):  # no such user's home
            return None
        return None if model is None else self._read(model)

    def manifest(self, here: Here, took: Callable[[int], None]) -> Manifest:
        """The hashes of all chunks, made now where they are not known."""
        return self.known.manifest(here.model.parts, took)

    def folder(self, model_id: str) -> Path:
        """Where that content goes when it is fetched."""
        assert is_digest(model_id, QUICK_DIGITS)
        return self.fetched / model_id

    def taken_bytes(self) -> int:
        """Everything fetched, whole or in parts."""
        return sum(taken_bytes(one) for one in self.fetched.iterdir())

    def forget(self) -> None:
        """Look again at the next question."""
        with self._lock:
            self._read_s = -RESCAN_S

    def unfinished(self, ref: str) -> tuple[str, str] | None:
        """(id, name) of a fetch that ended before all was here."""
        for folder in sorted(self.fetched.iterdir()):
            if not is_digest(folder.name, QUICK_DIGITS) or whole_model(folder) is not None:
                continue
            said = (read_json(folder / WANTED) or {}).get("model")
            name = str(said.get("name", "")) if isinstance(said, dict) else ""
            typed = len(ref) >= LEAST_ID_DIGITS and folder.name.startswith(ref.lower())
            if typed or (name and ref == name):
                return folder.name, name or folder.name[:LEAST_ID_DIGITS]
        return None

    def remove(self, ref: str) -> dict[str, object]:
        """Remove what we fetched, or the files of a model that a person names by its path."""
        rest = self.unfinished(ref)
        if rest is not None:
            return self.drop(*rest)
        at = self.at_path(ref)
        if at is not None and not is_below(at.model.path, self.fetched):
            freed = remove_files(at)
        else:
            at = self._fetched(ref)
            freed = clear(self.folder(at.id))
            remove_empty(self.folder(at.id))
        self.forget()
        return {"id": at.id, "name": at.identity.name, "freed_bytes": freed}

    def drop(self, model_id: str, name: str) -> dict[str, object]:
        """Remove what came of a fetch that was given up."""
        folder = self.folder(model_id)
        freed = clear(folder)
        remove_empty(folder)
        return {"id": model_id, "name": name, "freed_bytes": freed}

    def removable(self, ref: str) -> dict[str, object]:
        """What `remove` would remove; RequestError where it would not."""
        rest = self.unfinished(ref)
        if rest is not None:
            return {"id": rest[0], "name": rest[1], "path": str(self.folder(rest[0]))}
        at = self.at_path(ref)
        if at is None or is_below(at.model.path, self.fetched):
            at = self._fetched(ref)
        return {"id": at.id, "name": at.identity.name, "path": str(at.model.path)}

    def _fetched(self, ref: str) -> Here:
        found = self.find(ref)
        ours = [one for one in found if one.model.keeper == FETCHED] or [
            one for one in found if is_below(one.model.path, self.fetched)
        ]
        if ours:
            return only(ours, ref)
        if not found:
            raise unknown(ref, "on this machine")
        keeper, path = found[0].model.keeper, found[0].model.path
        text = f"{found[0].identity.name} was not fetched by fleet: {keeper} keeps it"
        raise RequestError("NotOurs", text, f"name its path to remove it: {path}", 409)


def remove_files(here: Here) -> int:
    """Remove a model's files, a link itself and not what it leads to; the bytes that were freed."""
    freed = 0
    for one in here.model.parts:
        freed += 0 if one.path.is_symlink() else one.path.stat().st_size
        one.path.unlink()
    if here.model.path.is_dir():
        remove_empty(here.model.path)
    return freed


def remove_empty(folder: Path) -> None:
    """Remove a folder that holds nothing; one that does stays."""
    if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
        folder.rmdir()


def is_below(path: Path, folder: Path) -> bool:
    """Whether a path lies in a folder, links aside."""
    return path.resolve().is_relative_to(folder.resolve())


def matching(ref: str, models: Sequence[Here]) -> list[Here]:
    """The models whose id begins so, or who are called so."""
    wanted = ref.strip().lower()
    if LEAST_ID_DIGITS <= len(wanted) <= QUICK_DIGITS and is_digest(wanted, len(wanted)):
        found = [one for one in models if one.id.startswith(wanted)]
        if found:
            return found
    return [one for one in models if wanted in called(one.identity)]


def called(identity: ModelIdentity) -> set[str]:
    """Every word for a model: its name, with or without whose it is, and its first file's."""
    name = identity.name.lower()
    words = {name, name.removeprefix("ollama:"), identity.files[0].name.lower()}
    return words | {name.rpartition("/")[2]}


def only(found: Sequence[Here], ref: str) -> Here:
    """The one model that is meant; several copies of it are one."""
    if len({one.id for one in found}) > 1:
        names = ", ".join(sorted({f"{one.identity.name} ({one.id[:12]})" for one in found})[:4])
        raise RequestError("Ambiguous", f"{ref!r} means several models: {names}", "name its id")
    return found[0]


def unknown(ref: str, where: str) -> RequestError:
    """Nobody has it."""
    return RequestError("NotFound", f"no model {ref[:80]!r} {where}", "fleet models --where", 404)
