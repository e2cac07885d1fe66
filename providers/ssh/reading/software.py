"""What is installed: engines on PATH and in conda, venv, uv and pipx environments, and our own
needs."""

from __future__ import annotations

import re
from dataclasses import replace
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
WHEEL: Final = "xllamacpp"
_PACKAGE: Final = re.compile(
    r"/lib/python(3\.\d{1,3})/site-packages/(\w+)-([\w.+!]{1,40})\.dist-info$"
)


def engines(tools: str, environments: str) -> tuple[Engine, ...]:
    """Each engine in each place once; a package's versions from the folder that names it."""
    found: dict[tuple[str, str], Engine] = {}
    pythons: dict[str, str] = {}
    for line in tools.splitlines():
        _add(found, line.strip())
    for line in environments.splitlines():
        kind, _, path = line.partition(" ")
        if kind == "program":
            _add(found, path)
        elif kind == "python":
            pythons[path.removesuffix("/bin/python3")] = plain(path)
        elif (package := _PACKAGE.search(path)) and package[2] in MODULES:
            place = path.partition("/lib/python")[0]
            engine = Engine(
                engine=MODULES[package[2]],
                where=plain(place),
                version=package[3],
                python_version=package[1],
            )
            # Beside llama-server the wheel is an engine of its own: it computes elsewhere.
            name = engine.engine if package[2] != WHEEL else WHEEL
            found[name, place] = engine
    whole = [
        replace(one, python=pythons.get(place, "")) if one.is_package else one
        for (_, place), one in found.items()
    ]
    return tuple(whole)[:MAX_ENGINES]


def _add(found: dict[tuple[str, str], Engine], path: str) -> None:
    """A program on PATH or in an environment; its package, if any, comes later with the version."""
    name = path.rpartition("/")[2]
    if path.startswith("/") and name in PROGRAMS:
        place = path.removesuffix(f"/bin/{name}")
        found.setdefault((PROGRAMS[name], place), Engine(engine=PROGRAMS[name], where=plain(path)))


def python(section: Section | None) -> tuple[str, str]:
    """(path, version) of an interpreter for our supervisor: 3.6 or later, of those that answered
    the newest; "" for none."""
    best = ("", "", 5)
    for line in "" if section is None else section.text.splitlines():
        found = re.fullmatch(r"3\.(\d{1,3}) (/[^\0\n]{1,4096})", line.strip())
        if found and int(found[1]) > best[2]:
            best = (found[2], f"3.{found[1]}", int(found[1]))
    return best[:2]
