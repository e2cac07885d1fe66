"""Where programs keep models on this machine: which folders, whose, and how each names them."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from providers.sources.ollama import stores

HUGGING_FACE: Final = "Hugging Face"
OLLAMA: Final = "Ollama"
LM_STUDIO: Final = "LM Studio"
LLAMA_CPP: Final = "llama.cpp"
FOLDER: Final = "folder"  # one that the settings name
FETCHED: Final = "fetched"  # by us, from another peer


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder that may hold models, and whose it is."""

    keeper: str
    folder: Path


def places(
    folders: Sequence[str] = (), fetched: Path | None = None, env: Mapping[str, str] = os.environ
) -> list[Place]:
    """Every place to look in, our own first; none need be there."""
    found = [] if fetched is None else [Place(keeper=FETCHED, folder=fetched)]
    found += [Place(keeper=FOLDER, folder=Path(one).expanduser()) for one in folders]
    found += [Place(keeper=HUGGING_FACE, folder=hub_cache(env))]
    found += [Place(keeper=LLAMA_CPP, folder=llamacpp_cache(env))]
    found += [Place(keeper=OLLAMA, folder=one) for one in stores()]
    lm_studio = (".lmstudio/models", ".cache/lm-studio/models")
    found += [Place(keeper=LM_STUDIO, folder=Path.home() / one) for one in lm_studio]
    return found


def hub_cache(env: Mapping[str, str]) -> Path:
    """Where huggingface_hub keeps repositories: HF_HUB_CACHE, HF_HOME/hub, or the user's cache."""
    if own := env.get("HF_HUB_CACHE") or env.get("HUGGINGFACE_HUB_CACHE"):
        return Path(own).expanduser()
    if home := env.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    return _user_cache(env) / "huggingface" / "hub"


def llamacpp_cache(env: Mapping[str, str]) -> Path:
    """Where llama.cpp's -hf put files before it took to the Hugging Face cache."""
    if own := env.get("LLAMA_CACHE"):
        return Path(own).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "llama.cpp"
    if sys.platform == "win32":
        return Path(env.get("LOCALAPPDATA", str(Path.home() / "AppData" / "Local"))) / "llama.cpp"
    return _user_cache(env) / "llama.cpp"


def _user_cache(env: Mapping[str, str]) -> Path:
    own = env.get("XDG_CACHE_HOME")
    return Path(own).expanduser() if own else Path.home() / ".cache"
