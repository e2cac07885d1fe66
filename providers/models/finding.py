"""The models that lie on this disk already: bounded walks, whatever the folders hold.

A model is what engines load: a GGUF, all parts of a split one, or a folder with config.json and
safetensors. Nothing else is ever offered to another peer.
"""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

from mathcore.formats.ollama import parse_manifest, parse_name
from mathcore.gguf.split import shard_names
from mathcore.model.spec import SpecError
from providers.durable import read_json
from providers.models.identity import Part, is_plain_name
from providers.models.incoming import whole_model
from providers.models.places import FETCHED, HUGGING_FACE, OLLAMA, Place
from providers.sources.folder import weight_files
from providers.sources.ollama import MAX_MANIFEST_BYTES

# A hub cache is five deep, LM Studio's folder three; people sort their own a little deeper.
MAX_DEPTH: Final = 8
# Entries looked at in one place: a photo archive named by mistake must not hold up the daemon.
MAX_ENTRIES: Final = 100_000
MAX_MODELS: Final = 4096  # of all places together
# A network drive that answers slowly is given up after this, with what was found so far.
MAX_SCAN_S: Final = 20.0
MAX_NOTES: Final = 50
MAGIC: Final = b"GGUF"
# What stands beside safetensors and is needed to load them; code (*.py) never travels.
COMPANIONS: Final = (".json", ".txt", ".model", ".jinja", ".tiktoken")
MAX_COMPANION_BYTES: Final = 64 << 20  # the largest tokenizer.json is near 35 MB
MAX_COMPANIONS: Final = 64
_SPLIT_ENDING: Final = len("-00001-of-00003.gguf")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LocalModel:
    """A model on this disk. `path` is what an engine is given: the first file, or the folder."""

    name: str
    keeper: str
    path: Path
    parts: tuple[Part, ...]


@final
@dataclass(slots=True, kw_only=True)
class Found:
    """What a scan saw; `notes` says what was passed over, and why."""

    models: list[LocalModel] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Remember why something was passed over."""
        if len(self.notes) < MAX_NOTES:
            self.notes.append(text)


def scan(places: Sequence[Place]) -> Found:
    """Every model in these places, each once; never an exception of what lies there."""
    found = Found()
    seen: set[tuple[int, int]] = set()
    for place in places:
        for one in _models_of(place, found):
            key = _key(one.parts[0].path)
            if key is None or key in seen:
                continue
            seen.add(key)
            found.models.append(one)
            if len(found.models) >= MAX_MODELS:
                found.note(f"more than {MAX_MODELS} models: the rest is not looked at")
                return found
    return found


def _key(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _models_of(place: Place, found: Found) -> Iterator[LocalModel]:
    if place.keeper == FETCHED:
        yield from _fetched(place.folder)
    elif place.keeper == OLLAMA:
        yield from _ollama(place.folder, found)
    else:
        for folder, names in walk(place.folder, found):
            yield from _in_folder(place, folder, names, found)


def _fetched(folder: Path) -> Iterator[LocalModel]:
    """What was fetched whole; a transfer under way is no model."""
    for one in _listed(folder)[0]:
        whole = whole_model(folder / one)
        if whole is not None:
            identity, parts = whole
            single = parts[0].name.lower().endswith(".gguf")
            path = parts[0].path if single else folder / one
            yield LocalModel(name=identity.name, keeper=FETCHED, path=path, parts=parts)


def walk(root: Path, found: Found) -> Iterator[tuple[Path, list[str]]]:
    """Each folder below `root` once, links to folders followed, with the names of its files."""
    until = time.monotonic() + MAX_SCAN_S
    left = MAX_ENTRIES
    waiting = [(root, 0)]
    seen: set[tuple[int, int]] = set()
    while waiting:
        folder, depth = waiting.pop()
        key = _key(folder)
        if key is None or key in seen:  # a link that leads back up
            continue
        seen.add(key)
        try:
            folders, files = _listed(folder, left)
        except OSError as error:
            if depth or error.errno not in (2, 20):  # a place that is not there is no news
                found.note(f"cannot look into {folder}: {error.strerror}")
            continue
        left -= len(folders) + len(files)
        yield folder, files
        if left <= 0 or time.monotonic() > until:
            found.note(f"{root} holds too much to look at all of it: name a folder inside it")
            return
        if depth < MAX_DEPTH:
            waiting += [(folder / name, depth + 1) for name in reversed(folders)]


def _listed(folder: Path, most: int = MAX_ENTRIES) -> tuple[list[str], list[str]]:
    """(folders, files) in a folder, sorted; hidden ones are left out."""
    folders: list[str] = []
    files: list[str] = []
    if not folder.is_dir():
        return [], []
    with os.scandir(folder) as entries:
        for one in entries:
            if one.name.startswith("."):
                continue
            (folders if _is_folder(one) else files).append(one.name)
            if len(folders) + len(files) >= most:
                break
    return sorted(folders), sorted(files)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _in_folder(place: Place, folder: Path, names: list[str], found: Found) -> Iterator[LocalModel]:
    try:
        yield from _ggufs(place.keeper, folder, names, found)
        if "config.json" in names and any(one.endswith(".safetensors") for one in names):
            yield _weights(place, folder, names)
    except (SpecError, OSError) as error:
        found.note(f"{folder} is passed over: {error}")


def _ggufs(keeper: str, folder: Path, names: list[str], found: Found) -> Iterator[LocalModel]:
    for name in names:
        if not name.lower().endswith(".gguf"):
            continue
        shards = shard_names(name)
        if name != shards[0]:
            continue
        missing = [one for one in shards if one not in names]
        if missing:
            found.note(f"{folder / name} is not all there: {missing[0]} is missing")
            continue
        model = gguf_at(keeper, folder, shards)
        if model is None:
            found.note(f"{folder / name} is no GGUF file")
        else:
            yield model


def gguf_at(keeper: str, folder: Path, names: Sequence[str]) -> LocalModel | None:
    """The GGUF of these files, in order; None where one is no such file."""
    parts = tuple(Part(name=safe_name(one), path=folder / one) for one in names)
    if not all(is_gguf(one.path) for one in parts):
        return None
    stem = names[0][:-_SPLIT_ENDING] if len(names) > 1 else names[0][: -len(".gguf")]
    return LocalModel(name=stem or names[0], keeper=keeper, path=parts[0].path, parts=parts)


def is_gguf(path: Path) -> bool:
    """Whether a regular file begins as a GGUF does."""
    try:
        if not path.is_file():
            return False
        with path.open("rb", buffering=0) as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def safe_name(name: str) -> str:
    """A file's name as every system can have it."""
    if is_plain_name(name):
        return name
    kept = "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip(".- ")
    return kept[-150:] if is_plain_name(kept[-150:]) else "model.gguf"


def _weights(place: Place, folder: Path, names: list[str]) -> LocalModel:
    """The model of a folder: its weights, and what is needed to load them."""
    weights = weight_files(folder)
    beside = [folder / one for one in names if _is_companion(place.folder, folder / one)]
    files = [*sorted({*beside[:MAX_COMPANIONS], *weights})]
    odd = [one.name for one in files if not is_plain_name(one.name)]
    if odd:
        raise SpecError(odd[0], "is no name that every system can have")
    parts = tuple(Part(name=one.name, path=one) for one in files)
    name = _repository(folder) if place.keeper == HUGGING_FACE else folder.name
    return LocalModel(name=name, keeper=place.keeper, path=folder, parts=parts)


def _is_companion(root: Path, path: Path) -> bool:
    """A small text beside weights, that no link takes from outside the place it was found in."""
    if path.suffix.lower() not in COMPANIONS or not path.is_file():
        return False
    return path.stat().st_size <= MAX_COMPANION_BYTES and path.resolve().is_relative_to(
        root.resolve()
    )


def _repository(snapshot: Path) -> str:
    """ "org/name" of .../models--org--name/snapshots/COMMIT."""
    for one in snapshot.parents:
        if one.name.startswith("models--"):
            return one.name[len("models--") :].replace("--", "/", 1)
    return snapshot.name


def _ollama(store: Path, found: Found) -> Iterator[LocalModel]:
    """The models of an Ollama store: each manifest names the blob that is its GGUF."""
    root = store / "manifests"
    for folder, names in walk(root, found):
        for name in names:
            try:
                model = _ollama_model(store, (folder / name).relative_to(root), folder / name)
            except (SpecError, OSError, ValueError) as error:
                found.note(f"{folder / name} is passed over: {error}")
                continue
            if model is None:
                found.note(f"{folder / name}: its weights are missing")
            else:
                yield model


def _ollama_model(store: Path, named: Path, manifest: Path) -> LocalModel | None:
    if len(named.parts) != 4:
        raise ValueError("not HOST/NAMESPACE/MODEL/TAG")
    host, namespace, model, tag = named.parts
    if manifest.stat().st_size > MAX_MANIFEST_BYTES:
        raise ValueError("too long for a manifest")
    said = parse_manifest(read_json(manifest) or {})
    blob = store / "blobs" / f"sha256-{said.model_digest}"
    if not is_gguf(blob) or blob.stat().st_size != said.model_bytes:
        return None
    short = parse_name(f"{host}/{namespace}/{model}:{tag}").short
    part = Part(name=safe_name(f"{model}-{tag}.gguf"), path=blob)
    return LocalModel(name=f"ollama:{short}", keeper=OLLAMA, path=blob, parts=(part,))


def model_at(path: Path) -> LocalModel | None:
    """The model a person names by its path: a GGUF (any part of a split one) or a folder."""
    found = Found()
    if path.is_dir():
        place = Place(keeper="", folder=path)
        names = _listed(path)[1]
        if "config.json" not in names:
            return None
        return next((m for m in _in_folder(place, path, names, found) if m.path == path), None)
    try:
        names = shard_names(path.name)
    except SpecError:
        return None
    return gguf_at("", path.parent, names) if path.name.lower().endswith(".gguf") else None
