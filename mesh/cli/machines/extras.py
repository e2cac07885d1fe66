"""How to add an optional package to the environment this very program runs in."""

import json
import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

PACKAGE: Final = "fleet-ledger"


def install_hint(extra: str, package: str = "") -> str:
    """The command that installs what `extra` stands for, where `fleet` was installed by pipx, uv
    or pip; the versions are those our own metadata pins. Without metadata of ours it is `package`,
    by default of the extra's own name.
    """
    wanted = requirements(extra, _requires()) or [package or extra]
    quoted = " ".join(shlex.quote(one) for one in wanted)
    prefix = Path(sys.prefix)
    if (prefix / "pipx_metadata.json").is_file():
        return f"pipx inject {prefix.name} {quoted}"
    if (prefix / "uv-receipt.toml").is_file():
        beside = " ".join(f"--with {shlex.quote(one)}" for one in wanted)
        return f"uv tool install {beside} {shlex.quote(_source())}"
    if _has_pip():
        return f"{shlex.quote(sys.executable)} -m pip install {quoted}"
    return f"uv pip install --python {shlex.quote(sys.executable)} {quoted}"


def requirements(extra: str, lines: Iterable[str]) -> list[str]:
    """The requirements an extra adds, without their markers: ["xllamacpp==2026.10.11549"]."""
    marker = re.compile(rf"""extra\s*==\s*["']{re.escape(extra)}["']""")
    return [line.partition(";")[0].strip() for line in lines if marker.search(line)]


def _requires() -> list[str]:
    from importlib.metadata import PackageNotFoundError, requires

    try:
        return requires(PACKAGE) or []
    except PackageNotFoundError:  # run from its source
        return []


def _source() -> str:
    """Where we were installed from: a folder, else the name in the index."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        said = json.loads(distribution(PACKAGE).read_text("direct_url.json") or "{}")
        url = urlsplit(str(said.get("url", "")))
    except (PackageNotFoundError, ValueError, AttributeError):
        return PACKAGE
    return unquote(url.path) if url.scheme == "file" else PACKAGE


def _has_pip() -> bool:
    from importlib.util import find_spec

    return find_spec("pip") is not None
