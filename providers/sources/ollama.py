"""Finds an Ollama model: in the store on this disk, else by asking the server that has it."""

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from mathcore.formats.gguf import spec_from_gguf
from mathcore.formats.ollama import OllamaName, parse_manifest, parse_name, spec_from_show
from mathcore.model.spec import ModelSpec, SpecError
from providers.base import ModelError
from providers.sources.gguf import read_header

MAX_MANIFEST_BYTES = 1 << 20  # real ones are near 1 KB
MAX_SHOW_BYTES = 4 << 20  # shapes of 3,000 tensors are near 400 KB
SILENCE_S = 5.0  # a local server answers at once

# Where the installer, a Linux service and a distribution's package keep models.
_STORES = ("~/.ollama/models", "/usr/share/ollama/.ollama/models", "/var/lib/ollama")


def stores() -> list[Path]:
    """Folders that may hold Ollama's models: OLLAMA_MODELS alone when it is set."""
    own = os.environ.get("OLLAMA_MODELS")
    return [Path(text).expanduser() for text in ([own] if own else _STORES)]


def find(text: str) -> tuple[ModelSpec, Path | None]:
    """The model Ollama knows by `text`, and its GGUF when it lies on this disk."""
    name = parse_name(text)
    for store in stores():
        found = _stored(store, name)
        if found is not None:
            return found
    return _asked(name), None


def _stored(store: Path, name: OllamaName) -> tuple[ModelSpec, Path] | None:
    path = store / "manifests" / name.host / name.namespace / name.model / name.tag
    try:
        with path.open("rb") as file:
            text = file.read(MAX_MANIFEST_BYTES)
    except OSError:  # not there, or a service's private folder: the server may tell
        return None
    manifest = parse_manifest(_object(text, "manifest"))
    blob = store / "blobs" / f"sha256-{manifest.model_digest}"
    if not blob.is_file():
        raise ModelError(
            f"{name.short} is not all there: its weights are missing from {store}",
            f"ollama pull {name.short}",
        )
    header = read_header(blob)
    return spec_from_gguf(header, name.short, f"ollama:{name.short}"), blob


def _object(text: bytes, what: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(what, "is not JSON") from error
    if not isinstance(found, dict):
        raise SpecError(what, "is not a JSON object")
    return found


def server() -> str:
    """The address OLLAMA_HOST names, as Ollama's own client reads it."""
    text = os.environ.get("OLLAMA_HOST", "").strip() or "127.0.0.1"
    parts = urllib.parse.urlsplit(text if "://" in text else f"http://{text}")
    host = parts.hostname or "127.0.0.1"
    host = "127.0.0.1" if host == "0.0.0.0" else f"[{host}]" if ":" in host else host
    usual = {"http": 11434, "https": 443}.get(parts.scheme, 11434)
    return f"{parts.scheme}://{host}:{parts.port or usual}"


def _asked(name: OllamaName) -> ModelSpec:
    """From /api/show; ModelError where there is no server or it has no such model."""
    request = urllib.request.Request(
        f"{server()}/api/show",
        data=json.dumps({"model": name.short}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=SILENCE_S) as reply:
            text = reply.read(MAX_SHOW_BYTES + 1)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 404:
            raise ModelError(f"Ollama has no {name.short}", f"ollama pull {name.short}") from error
        raise ModelError(f"Ollama answered {error.code} for {name.short}", "see its log") from error
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{name.short} is in no Ollama store here, and no Ollama answers at {server()}",
            f"start it, or: ollama pull {name.short}; OLLAMA_MODELS names another store",
        ) from error
    if len(text) > MAX_SHOW_BYTES:
        raise SpecError("show", f"the reply is longer than {MAX_SHOW_BYTES} bytes")
    return spec_from_show(_object(text, "show"), name.short, f"ollama:{name.short}")
