"""Which engines of a host jobs can run by, and which Python holds them there. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from providers.base import DependencyMissing
from providers.engine.servers import SERVERS
from providers.ssh.limits import LEAST_PYTHON
from providers.ssh.reading.facts import Engine, HostFacts

LLAMACPP: Final = "llama.cpp"
# The executable beside a package's Python that stands for it; llama.cpp's wheel has none.
SCRIPTS: Final = {"vllm": "vllm", "mlx": "mlx_lm.server"}
NEEDED: Final = ".".join(map(str, LEAST_PYTHON))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class HostEngine:
    """An engine as it is started: `python` runs our supervisor, `program` is the engine's
    executable, "" for a package that the same Python has."""

    engine: str
    python: str
    program: str


def engine_on(facts: HostFacts, engine: str, *, host: str, processor: bool) -> HostEngine:
    """The engine for a card of a host, or for its processor; DependencyMissing with the reason.

    llama.cpp's wheel computes on processors and on a Mac's GPU, which counts as one here.
    """
    found = [
        one for one in facts.engines if one.engine == engine and _serves(one, processor=processor)
    ]
    if engine not in SERVERS or not found:
        text = f"{host} has no {engine} that jobs can run by"
        hint = "fleet ssh shows what was found; fleet ssh probe looks again"
        raise DependencyMissing(text, hint)
    for one in sorted(found, key=lambda one: not (one.engine == LLAMACPP and one.is_package)):
        python = _python(facts, one)
        if python:
            return HostEngine(engine=engine, python=python, program=_program(one))
    raise DependencyMissing(_old_python(facts, host), "install one there: no root is needed")


def engines_for(facts: HostFacts, *, processor: bool) -> set[str]:
    """The engines that jobs can run by on a card, or on the processor."""
    found = set[str]()
    for engine in {one.engine for one in facts.engines}:
        try:
            engine_on(facts, engine, host="", processor=processor)
        except DependencyMissing:
            continue
        found.add(engine)
    return found


def why_none(facts: HostFacts, host: str) -> str:
    """Why a host with engines can run none of them; "" where it can, or has none."""
    here = {one.engine for one in facts.engines} & set(SERVERS)
    if not here or engines_for(facts, processor=True) | engines_for(facts, processor=False):
        return ""
    return _old_python(facts, host)


def _serves(one: Engine, *, processor: bool) -> bool:
    """Whether it can be asked over HTTP on that kind of device."""
    if one.engine != LLAMACPP:
        return True
    return processor if one.is_package else one.where.endswith("/llama-server")


def _python(facts: HostFacts, one: Engine) -> str:
    """The engine's own Python where it is new enough, else the host's; the wheel's must have it."""
    if one.python and is_enough(one.python_version):
        return one.python
    if not is_enough(facts.python_version):
        return ""
    needs_its_own = one.engine == LLAMACPP and one.is_package
    return "" if needs_its_own and one.python_version != facts.python_version else facts.python


def _program(one: Engine) -> str:
    if not one.is_package:
        return one.where
    return f"{one.where}/bin/{SCRIPTS[one.engine]}" if one.engine in SCRIPTS else ""


def is_enough(version: str) -> bool:
    """Whether our supervisor runs in that Python ("3.11")."""
    parts = version.split(".")
    return len(parts) == 2 and all(map(str.isdigit, parts)) and (*map(int, parts),) >= LEAST_PYTHON


def _old_python(facts: HostFacts, host: str) -> str:
    there = f"it has {facts.python_version}" if facts.python_version else "it has none"
    return f"needs Python {NEEDED} or later on {host} to run an engine: {there}"
