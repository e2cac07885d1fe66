"""What is installed: engines on PATH and in conda, venv, uv and pipx environments, and our own
needs."""

from __future__ import annotations

import re
from typing import Final

from providers.ssh.limits import MAX_ENGINES
from providers.ssh.reading.facts import Engine
from providers.ssh.reading.sections import Section, plain

PROGRAMS: Final = {
    "llama-server": "llama.cpp",
    "llama-cli": "llama.cpp",
    "ollama": "ollama",
    "vllm": "vllm",
    "sglang": "sglang",
    "text-generation-launcher": "tgi",
    "mlx_lm.server": "mlx",
}
MODULES: Final = {"vllm": "vllm", "xllamacpp": "llama.cpp", "mlx_lm": "mlx", "sglang": "sglang"}
_PACKAGE: Final = re.compile(r"/site-packages/(\w+)-([\w.+!]{1,40})\.dist-info$")


def engines(tools: str, environments: str) -> tuple[Engine, ...]:
    """Each engine in each place once; a package's version from the folder that names it."""
    found: dict[tuple[str, str], Engine] = {}
    for line in tools.splitlines():
        _add(found, line.strip())
    for line in environments.splitlines():
        kind, _, path = line.partition(" ")
        if kind == "program":
            _add(found, path)
        elif (package := _PACKAGE.search(path)) and package[1] in MODULES:
            place = path.partition("/lib/python")[0]
            engine = Engine(engine=MODULES[package[1]], where=plain(place), version=package[2])
            found[engine.engine, place] = engine
    return tuple(found.values())[:MAX_ENGINES]


def _add(found: dict[tuple[str, str], Engine], path: str) -> None:
    """A program on PATH or in an environment; its package, if any, comes later with the version."""
    name = path.rpartition("/")[2]
    if path.startswith("/") and name in PROGRAMS:
        place = path.removesuffix(f"/bin/{name}")
        found.setdefault((PROGRAMS[name], place), Engine(engine=PROGRAMS[name], where=plain(path)))


def python(section: Section | None) -> str:
    """An interpreter the supervisor can run in: 3.6 or later; "" for none."""
    if section is None or section.status:
        return ""
    found = re.fullmatch(r"3\.(\d{1,3}) (/[^\0\n]{1,4096})", section.text.strip())
    return found[2] if found and int(found[1]) >= 6 else ""
