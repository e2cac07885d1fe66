"""What a model reference means: a file, a folder, a URL, Ollama's model, or a known name."""

from dataclasses import dataclass
from pathlib import Path
from typing import final

from mathcore.catalogue.names import find_named
from mathcore.formats.config import spec_from_config
from mathcore.formats.gguf import spec_from_gguf
from mathcore.model.spec import ModelSpec, SpecError
from mathcore.quant.weights import quant_fault
from providers.base import ModelError, UnreadableModel
from providers.sources.folder import read_card, read_folder
from providers.sources.gguf import read_headers
from providers.sources.typed import typed_path
from providers.sources.unknown import unknown

URLS = ("http://", "https://")
OLLAMA = "ollama:"
_FILES = (".gguf", ".json", ".safetensors")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A model and, when it is on this machine's disk, the file an engine can load."""

    spec: ModelSpec
    path: str | None


def resolve(ref: str) -> Source:
    """A catalogue name, a .gguf (any file of a split one), a config.json or a folder with one,
    an http(s) URL of a .gguf, or ollama:NAME. ModelError says what, why, what next.
    """
    if not ref.strip() or "\0" in ref:
        raise ModelError("no model was named", "fleet models lists those known by name")
    try:
        return _read(ref.strip())
    except SpecError as error:
        text = f"cannot read {ref}: {error.field}: {error.text}"
        raise UnreadableModel(text, _hint(ref)) from error
    except OSError as error:
        reason = error.strerror or str(error)
        hint = "check the path and its rights"
        raise UnreadableModel(f"cannot read {ref}: {reason}", hint) from error


def _read(ref: str) -> Source:
    lower = ref.lower()
    if lower.startswith(URLS):
        return _url(ref)
    if lower.startswith(OLLAMA):
        return _ollama(ref[len(OLLAMA) :])
    path = typed_path(ref)
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        return _file(path)
    return _named(ref)


def _hint(ref: str) -> str:
    if ref.lower().endswith(".gguf"):
        return "is the download complete? llama.cpp's own files and splits are read"
    return "read are .gguf, config.json with its safetensors, and Ollama's models"


def _url(ref: str) -> Source:
    if not ref.lower().partition("?")[0].endswith(".gguf"):
        spec = find_named(ref)  # a repository's page
        if spec is not None:
            return Source(spec=spec, path=None)
    from providers.sources.http import file_name, read_url

    name = file_name(ref)
    if not name.lower().endswith(".gguf"):
        raise ModelError(f"not a .gguf file: {ref}", "give the address of the file itself")
    return Source(spec=spec_from_gguf(read_url(ref), name[: -len(".gguf")], ref), path=None)


def _ollama(name: str) -> Source:
    from providers.sources.ollama import find

    spec, path = find(name)
    return Source(spec=spec, path=str(path.resolve()) if path else None)


def _file(path: Path) -> Source:
    ending = path.suffix.lower()
    if ending == ".gguf":
        spec = spec_from_gguf(read_headers(path), path.stem, str(path))
        return Source(spec=spec, path=str(path.resolve()))
    if ending == ".safetensors":
        raise ModelError(
            f"{path.name} holds weights but not the layers", f"name its folder: {path.parent}"
        )
    if path.name == "config.json":
        return Source(spec=read_folder(path.parent), path=None)
    return Source(spec=spec_from_config(read_card(path), path.stem, str(path)), path=None)


def _folder(path: Path) -> Source:
    if (path / "config.json").is_file():
        return Source(spec=read_folder(path), path=None)
    files = sorted(file.name for file in path.glob("*.gguf"))
    if files:
        raise ModelError(f"{path} holds GGUF files", f"name one: {path / files[0]}")
    raise ModelError(
        f"{path} holds no config.json", "name a .gguf file or a folder with a config.json"
    )


def _named(ref: str) -> Source:
    spec = find_named(ref)
    if spec is not None:
        fault = quant_fault(spec, spec.quant) if spec.quant else ""
        if fault:
            raise ModelError(
                f"{spec.name} can't be stored as {spec.quant}: {fault}", "name another"
            )
        return Source(spec=spec, path=None)
    if ref.lower().endswith(_FILES) or ref.startswith((".", "/", "~")):
        raise ModelError(f"no such file: {ref}", "check the path; it is read on this machine")
    raise unknown(ref)
