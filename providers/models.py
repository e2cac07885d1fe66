"""What a model reference means: a file, a folder, or a name everybody knows."""

import difflib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import final

from mathcore.card import spec_from_config
from mathcore.catalogue import find_model, model_names
from mathcore.gguf_card import spec_from_gguf
from mathcore.model import CardError, ModelSpec
from providers.base import ModelError
from providers.gguf_file import read_header

MAX_CONFIG_BYTES = 4 << 20  # the longest real config.json are below 100 KB


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A model and, when it is on this machine's disk, the file an engine can load."""

    spec: ModelSpec
    path: str | None


def resolve(ref: str) -> Source:
    """A path to a .gguf, a config.json or a folder holding one, or a catalogue name."""
    if not ref.strip() or "\0" in ref:
        raise ModelError("no model was named", "say a name such as llama-3.1-8b, or a file")
    path = Path(ref).expanduser()
    try:
        if path.is_dir():
            return _folder(path)
        if path.is_file():
            return _gguf(path) if path.suffix.lower() == ".gguf" else _config(path)
    except CardError as error:
        raise ModelError(f"cannot read {ref}: {error.field}: {error.text}", _card_hint()) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelError(f"cannot read {ref}: {reason}", "check the path and its rights") from error
    return _named(ref)


def _card_hint() -> str:
    return "supported are dense decoder models as .gguf or config.json"


def _gguf(path: Path) -> Source:
    header = read_header(path)
    return Source(spec=spec_from_gguf(header, path.stem, str(path)), path=str(path.resolve()))


def _folder(path: Path) -> Source:
    config = path / "config.json"
    if config.is_file():
        return _config(config)
    raise ModelError(
        f"{path} holds no config.json", "name a .gguf file or a folder with a config.json"
    )


def _config(path: Path) -> Source:
    with path.open("rb") as file:
        data = file.read(MAX_CONFIG_BYTES + 1)
    if len(data) > MAX_CONFIG_BYTES:
        raise CardError(path.name, "is too long to be a model's config")
    try:
        card = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CardError(path.name, "is not JSON") from error
    if not isinstance(card, dict):
        raise CardError(path.name, "is not a JSON object")
    name = path.resolve().parent.name if path.name == "config.json" else path.stem
    return Source(spec=spec_from_config(card, name, str(path)), path=None)


def _named(ref: str) -> Source:
    spec = find_model(ref)
    if spec is not None:
        return Source(spec=spec, path=None)
    if ref.lower().endswith((".gguf", ".json")) or ref.startswith((".", "/", "~")):
        raise ModelError(f"no such file: {ref}", "check the path; it is read on this machine")
    close = difflib.get_close_matches(ref.lower(), model_names(), n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(close)}?" if close else "give a .gguf file or a config.json"
    raise ModelError(f"unknown model: {ref}", hint)
