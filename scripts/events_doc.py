"""Writes docs/events.md from the structs of mesh/state/facts: scripts/events-doc [--check]."""

import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from msgspec import UNSET, UnsetType, structs

from mesh.state.facts.budget import BudgetNamed, BudgetPart
from mesh.state.facts.events import EVENTS
from mesh.state.facts.fact import FIRST_VERSION, Fact, bare, marks
from mesh.state.facts.job import Expected, JobConfig
from mesh.state.facts.money import TariffBand
from mesh.state.facts.offers import OfferRow
from mesh.state.facts.plan import (
    MemberFact,
    MemoryFact,
    Percentiles,
    PlanFact,
    RunFact,
    WorkFact,
)
from mesh.state.facts.serving import TailFact, UsageRow

PAGE = Path(__file__).parent.parent / "docs" / "events.md"
OBJECTS: dict[type[Fact], str] = {
    PlanFact: "plan",
    MemberFact: "member",
    MemoryFact: "footprint",
    Percentiles: "percentiles",
    RunFact: "run",
    WorkFact: "work",
    JobConfig: "config",
    Expected: "expected",
    OfferRow: "offer",
    UsageRow: "usage",
    TailFact: "tail",
    TariffBand: "band",
    BudgetNamed: "budget",
    BudgetPart: "budget part",
}
TYPES = {int: "integer", str: "text", bool: "true or false", dict: "object"}
HEAD = f"""# What the ledger holds

Made from `mesh/state/facts` by `scripts/events-doc`; do not edit.

An event is one JSON object, its bytes canonical: keys sorted, no spaces, integers up to 2^53 - 1,
no floats, 64 KiB at most. Its author signs all but `id` and `sig`, which are derived.

| field | what it is |
|---|---|
| `v` | version of this envelope, 1 |
| `author` | ed25519 public key, 64 hex digits |
| `seq` | counts the author's events from 1 |
| `prev` | hash of the author's event before it, 64 hex digits; zeros for the first |
| `hlc` | hybrid logical clock, `<ms>-<counter>` |
| `timestamp` | the same instant, RFC 3339, UTC |
| `device_id` | the device it is about; for others, who wrote it |
| `event_type` | one of the types below, or one of a newer peer: kept, counted, passed over |
| `payload` | the fields below |
| `id`, `sig` | name of the event, from its hash; signature, hex |

A state is the fold of all events in the order (hlc, author, seq, id). Reading a payload never
fails: a field that is missing or has another type is unknown (0, "", no list, no object), and so
is an amount below zero; a field not listed here is a newer peer's and is passed over. Money is
whole nano-dollars (`_nusd`), time whole milliseconds (`_ms`), sizes whole bytes; fractions are
decimal text or thousandths (`_milli`).

*Written* says when: *always*; *if known*, and else left out; or only in one of a type's forms.
Every type and field is there since version {FIRST_VERSION} of the program, unless *since* says
otherwise.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for name, forms in EVENTS.items():
        parts.append("\n".join([f"## {name}", "", *_about(forms), "", *_table(forms)]) + "\n")
    parts.append("# Objects inside payloads\n")
    for kind, name in OBJECTS.items():
        parts.append("\n".join([f"## {name}", "", _doc(kind), "", *_table((kind,))]) + "\n")
    return "\n".join(parts)


def _about(forms: tuple[type[Fact], ...]) -> Iterator[str]:
    """What the type says; for each of several forms, when it is written."""
    if len(forms) == 1:
        yield _doc(forms[0])
        return
    shared = forms[0].__mro__[1]
    if shared is not Fact and all(issubclass(form, shared) for form in forms):
        yield from (_doc(shared), "")
    for form in forms:
        yield f"* {form.__name__}: {_doc(form)}"


def _table(forms: tuple[type[Fact], ...]) -> Iterator[str]:
    yield "| field | type | unit | written | since | meaning |"
    yield "|---|---|---|---|---|---|"
    fields = {one.encode_name: one for form in forms for one in structs.fields(form)}
    for name, field in sorted(fields.items()):
        said = marks(field.type)
        cells = (
            f"`{name}`", _type(bare(field.type)), said.get("unit", ""), _written(name, forms),
            said.get("since", FIRST_VERSION), said.get("meaning", ""),
        )  # fmt: skip
        yield "| " + " | ".join(cells) + " |"


def _written(name: str, forms: tuple[type[Fact], ...]) -> str:
    """In which forms a field is always there."""
    always = [form.__name__ for form in forms if name in _always(form)]
    if len(always) < len(forms):
        return ", ".join(always) if always else "if known"
    found = {_always(form)[name] for form in forms}
    missing = [json.dumps(default) for default in found if default is not None]
    return "always" + "".join(f"; missing = `{default}`" for default in missing)


def _always(form: type[Fact]) -> dict[str, object]:
    """The fields a form never leaves out, with what a missing one means; None = unknown."""
    everything = not form.__struct_config__.omit_defaults
    return {
        one.encode_name: None if one.required else one.default
        for one in structs.fields(form)
        if one.required or (everything and one.default is not UNSET)
    }


def _type(of: Any) -> str:
    if get_origin(of) is UnionType:
        return _type(next(one for one in get_args(of) if one not in (type(None), UnsetType)))
    if of in OBJECTS:
        return f"[{OBJECTS[of]}](#{OBJECTS[of]})"
    if get_origin(of) is tuple:
        return _list(get_args(of)[0])
    return TYPES[get_origin(of) or of]


def _list(of: Any) -> str:
    plural = {str: "text", int: "integers"}
    return f"list of {plural.get(of) or _type(of) + 's'}"


def _doc(kind: type[Fact]) -> str:
    return inspect.getdoc(kind) or ""


def main() -> int:
    """Write the page; with --check, say whether it is as it should be."""
    if "--check" in sys.argv[1:]:
        return int(PAGE.read_text() != page())
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
