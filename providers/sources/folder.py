"""Reads a model's folder: config.json, and the headers of the safetensors files beside it."""

import json
import os
import re
from pathlib import Path

from mathcore.formats.config import spec_from_config
from mathcore.formats.safetensors import spec_from_safetensors
from mathcore.formats.safetensors_header import header_bytes, parse_safetensors
from mathcore.model.spec import ModelSpec, SpecError, Tensor

MAX_CONFIG_BYTES = 1 << 20  # the longest real config.json are below 100 KB
MAX_INDEX_BYTES = 32 << 20  # one line per tensor; the longest real ones are near 15 MB
MAX_FILES = 1024  # real models have under 200

INDEX = "model.safetensors.index.json"
_ENTRY = re.compile(rb':\s*"([^"\\]{1,255}\.safetensors)"')


def read_card(path: Path) -> dict[str, object]:
    """A config.json as it stands; SpecError, OSError."""
    with path.open("rb") as file:
        data = file.read(MAX_CONFIG_BYTES + 1)
    if len(data) > MAX_CONFIG_BYTES:
        raise SpecError(path.name, "is too long to be a model's config")
    try:
        card = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SpecError(path.name, "is not JSON") from error
    if not isinstance(card, dict):
        raise SpecError(path.name, "is not a JSON object")
    return card


def read_folder(folder: Path) -> ModelSpec:
    """The model whose config.json lies in `folder`, its weights exactly where files hold them."""
    card = read_card(folder / "config.json")
    name, files = folder.resolve().name, weight_files(folder)
    if not files:
        return spec_from_config(card, name, str(folder / "config.json"))
    tensors: list[Tensor] = []
    for file in files:
        tensors += read_safetensors(file)
    return spec_from_safetensors(card, tensors, name, str(folder))


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files the index names, else the only one there; [] for none."""
    index = folder / INDEX
    if index.is_file():
        return [_beside(folder, name) for name in _indexed(index)]
    single = folder / "model.safetensors"
    if single.is_file():
        return [single]
    found = sorted(folder.glob("*.safetensors"))
    if len(found) > 1:
        raise SpecError(INDEX, f"is missing: which of {len(found)} files are the model?")
    return found


def _indexed(index: Path) -> list[str]:
    """The files an index spreads the tensors over; read by pattern, for it may be long."""
    with index.open("rb") as file:
        data = file.read(MAX_INDEX_BYTES + 1)
    if len(data) > MAX_INDEX_BYTES:
        raise SpecError(INDEX, f"is longer than the {MAX_INDEX_BYTES} bytes allowed")
    names: set[bytes] = set()
    for match in _ENTRY.finditer(data):
        names.add(match[1])
        if len(names) > MAX_FILES:
            raise SpecError(INDEX, f"names more than {MAX_FILES} files")
    if not names:
        raise SpecError(INDEX, "names no safetensors file")
    return sorted(name.decode("utf-8", "replace") for name in names)


def _beside(folder: Path, name: str) -> Path:
    if "/" in name or "\\" in name or not (folder / name).is_file():
        raise SpecError(name, f"is named by {INDEX} but not there")
    return folder / name


def read_safetensors(path: Path) -> tuple[Tensor, ...]:
    """One file's tensors; SpecError if its header is broken or its data cut short, OSError."""
    with path.open("rb") as file:
        first = file.read(8)
        header = parse_safetensors(first + file.read(header_bytes(first)))
        missing = header.end + header.data_bytes - os.fstat(file.fileno()).st_size
    if missing > 0:
        raise SpecError(path.name, f"the file is cut short: {missing} bytes are missing")
    return header.tensors
