"""A row of the catalogue from a config.json, pasted as its publisher has it.

    python -m scripts.lab.catalogue_add FAMILY REPO SOURCE < config.json

Fields that change nothing are left out; the count of parameters is our own where nobody's is given.
"""

import json
import sys
from pathlib import Path
from typing import Any

from mathcore.api import ModelSpec, spec_from_config

DATA = Path(__file__).parents[2] / "mathcore" / "catalogue" / "data"
WIDE = 100
# Kept whether or not they change the model: what people look for, and what towers are planned by.
KEPT = ("model_type", "tie_word_embeddings", "max_position_embeddings", "vision_config")


def _same(config: dict[str, Any], spec: ModelSpec) -> bool:
    try:
        return spec_from_config(config, spec.name) == spec
    except Exception:  # a field it needs
        return False


def needed(config: dict[str, Any], spec: ModelSpec) -> dict[str, Any]:
    """The fields that decide the model, nested configs included."""
    found = dict(config)
    for key in list(found):
        if key in KEPT:
            continue
        without = {name: value for name, value in found.items() if name != key}
        if _same(without, spec):
            found = without
    for key, value in found.items():
        if isinstance(value, dict) and key != "vision_config":
            found[key] = _needed_inside(found, key, spec)
    return found


def _needed_inside(config: dict[str, Any], place: str, spec: ModelSpec) -> dict[str, Any]:
    inside = dict(config[place])
    for key in list(inside):
        without = {name: value for name, value in inside.items() if name != key}
        if key not in KEPT and _same({**config, place: without}, spec):
            inside = without
    return inside


def _list(values: list[Any], indent: str) -> str:
    flat = "[" + ", ".join(json.dumps(value) for value in values) + "]"
    if len(flat) <= WIDE - 30:
        return flat
    lines, line = [], indent + "  "
    for n, value in enumerate(values):
        word = json.dumps(value) + ("," if n + 1 < len(values) else "")
        if len(line) + len(word) + 1 > WIDE and line.strip():
            lines.append(line.rstrip())
            line = indent + "  "
        line += word + " "
    return "[\n" + "\n".join([*lines, line.rstrip()]) + f"\n{indent}]"


def text(value: Any, indent: str = "") -> str:
    """JSON as the tables have it: a line for each field, lists wrapped."""
    if isinstance(value, dict):
        inner = [f'{indent}  "{key}": {text(item, indent + "  ")}' for key, item in value.items()]
        return "{\n" + ",\n".join(inner) + f"\n{indent}}}" if inner else "{}"
    if isinstance(value, list) and not any(isinstance(item, dict) for item in value):
        return _list(value, indent)
    if isinstance(value, list):
        inner = [f"{indent}  {text(item, indent + '  ')}" for item in value]
        return "[\n" + ",\n".join(inner) + f"\n{indent}]"
    return json.dumps(value)


def row(repo: str, source: str, config: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The row of a config; `more` has what it does not say: name, aliases, a published count."""
    spec = spec_from_config(config, more.get("name", repo.rpartition("/")[2].lower()))
    made: dict[str, Any] = {
        "name": spec.name,
        "repo": repo,
        "source": source,
        "parameters": more.get("parameters", spec.parameters),
        "published": more.get("published", "counted"),
    }
    if spec.native:
        made["native"] = spec.native
    if more.get("aliases"):
        made["aliases"] = more["aliases"]
    return {**made, "config": needed(config, spec)}


def add(family: str, rows: list[dict[str, Any]]) -> None:
    """Append rows to a family's table, which is made when it is new."""
    path = DATA / f"{family}.json"
    known = json.loads(path.read_text()) if path.exists() else []
    path.write_text(text([*known, *rows]) + "\n")


def main() -> None:
    family, repo, source = sys.argv[1:4]
    add(family, [row(repo, source, json.load(sys.stdin))])


if __name__ == "__main__":
    main()
