"""Models known by name: the sizes their publishers' config.json files give.

Each row names the repository whose config it states, and a published parameter count with where
it was published; the tensors follow from the config. Fine-tunes share their base's row.
"""

import json
from dataclasses import dataclass
from typing import final

from mathcore.catalogue.gemma import ROWS as GEMMA
from mathcore.catalogue.hybrid import ROWS as HYBRID
from mathcore.catalogue.llama import ROWS as LLAMA
from mathcore.catalogue.moe import ROWS as MOE
from mathcore.catalogue.other import ROWS as OTHER
from mathcore.catalogue.qwen import ROWS as QWEN
from mathcore.formats.config import spec_from_config
from mathcore.model.spec import ModelSpec

# Where a published count is from, by the word the rows use.
PUBLISHED: dict[str, str] = {
    "hub": "the tensor count on its hub page",
    "card": "its model card",
    "llama.cpp": "llama.cpp's count of its GGUF",
}

NATIVE = "HF-BF16"  # unless a row says otherwise

# What people add to a name without meaning another architecture or another quantisation.
_ENDINGS: tuple[str, ...] = ("-hf", "-instruct", "-chat", "-it", "-base", "-latest", "-v0.1")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One model: its config.json's needed fields, and what a name may mean it by."""

    name: str
    repo: str
    parameters: int  # published; text only where there is more
    published: str  # a key of PUBLISHED
    aliases: tuple[str, ...]
    native: str  # how its publisher ships it, a name of QUANTS; "" where we have no such format
    card: dict[str, object]


_ROWS: list[Row] = []  # filled when first asked for, so that importing stays quick
_KEYS: dict[str, Row] = {}


def expand(value: object) -> object:
    """{"repeat": 2, "of": [1, 2]} as [1, 2, 1, 2], {"join": ["a", "b"]} as "ab", at any depth."""
    if isinstance(value, list):
        return [expand(item) for item in value]
    if not isinstance(value, dict):
        return value
    times, pattern = value.get("repeat"), value.get("of")
    if isinstance(times, int) and isinstance(pattern, list):
        return [expand(item) for item in pattern] * times
    if "join" in value:
        return "".join(_texts(value["join"]))
    out: dict[str, object] = {}
    for key, item in value.items():
        out[str(key)] = expand(item)
    return out


def _texts(value: object) -> tuple[str, ...]:
    return tuple([str(item) for item in value]) if isinstance(value, list) else ()


def _row(given: dict[str, object], known: dict[str, Row]) -> Row:
    """A row; one that is "like" another takes its config but for the fields it states."""
    card: dict[str, object] = {}
    like = given.get("like")
    if isinstance(like, str):
        card.update(known[like].card)
    own = expand(given["card"])
    assert isinstance(own, dict)
    card.update(own)
    parameters = given["parameters"]
    assert isinstance(parameters, int)
    return Row(
        name=str(given["name"]),
        repo=str(given["repo"]),
        parameters=parameters,
        published=str(given["published"]),
        aliases=_texts(given.get("aliases")),
        native=str(given.get("native", NATIVE)),
        card=card,
    )


def rows() -> list[Row]:
    """Every model, family by family."""
    if _ROWS:
        return _ROWS
    known: dict[str, Row] = {}
    for text in (LLAMA, QWEN, GEMMA, MOE, HYBRID, OTHER):
        for given in json.loads(text):
            row = _row(given, known)
            known[row.name] = row
    _ROWS.extend(known.values())
    return _ROWS


def canonical(name: str) -> str:
    """The key of a name as people type it: "meta-llama/Llama-3.1-8B-Instruct" -> "llama-3.1-8b"."""
    key = name.strip().lower().rpartition("/")[2]
    key = key.replace("_", "-").replace(":", "-").replace(" ", "-")
    key = key.replace("-instruct-", "-")  # "Mistral-7B-Instruct-v0.3"
    before = ""
    while key != before:
        before = key
        for ending in _ENDINGS:
            key = key.removesuffix(ending)
    return key


def keys() -> dict[str, Row]:
    """Every canonical name, alias and repository, and the row it means."""
    if not _KEYS:
        for row in rows():
            for name in (row.name, row.repo, *row.aliases):
                _KEYS.setdefault(canonical(name), row)
    return _KEYS


def model_names() -> list[str]:
    """Every name `find_model` knows, aliases included, sorted."""
    out: list[str] = []
    for row in rows():
        out.append(row.name)
        out.extend(row.aliases)
    return sorted(out)


def find_row(name: str) -> Row | None:
    """The row a name, an alias or a repository means, or None."""
    return keys().get(canonical(name))


def row_spec(row: Row) -> ModelSpec:
    """The model a row describes."""
    return spec_from_config(row.card, row.name, f"config.json of {row.repo}")


def find_model(name: str) -> ModelSpec | None:
    """The model a name, an alias or a repository means, or None."""
    row = find_row(name)
    return None if row is None else row_spec(row)


def search(words: str) -> list[Row]:
    """Rows whose name, repository or aliases hold every word, in the catalogue's order."""
    wanted = words.lower().replace(":", "-").split()
    found: list[Row] = []
    for row in rows():
        text = " ".join([row.name, row.repo, *row.aliases]).lower().replace(":", "-")
        if all([word in text for word in wanted]):
            found.append(row)
    return found
