"""Models known by name: the sizes their publishers' config.json files give.

Each row of data/*.json names the repository whose config it states, where that stands (`source`),
and a published parameter count with where it was published; the tensors follow from the config.
Fine-tunes share their base's row.
"""

import json
from dataclasses import dataclass, replace
from typing import final

from mathcore.catalogue.towers import tower_of
from mathcore.data import read_text
from mathcore.formats.config import spec_from_config, with_parts
from mathcore.model.spec import ModelSpec

FAMILIES: tuple[str, ...] = (
    "deepseek",
    "embedding",
    "exaone",
    "falcon",
    "gemma",
    "glm",
    "granite",
    "kimi",
    "lfm",
    "llama",
    "mimo",
    "minimax",
    "mistral",
    "nemotron",
    "olmo",
    "openai",
    "other",
    "phi",
    "pythia",
    "qwen",
    "smollm",
    "stablelm",
)

# Where a published count is from, by the word the rows use.
PUBLISHED: dict[str, str] = {
    "hub": "the tensor count on its hub page",
    "card": "its model card",
    "llama.cpp": "llama.cpp's count of its GGUF",
    "counted": "counted from its config",
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
    source: str  # where the config stands
    parameters: int  # published; text only where there is more
    published: str  # a key of PUBLISHED
    aliases: tuple[str, ...]
    native: str  # how its publisher ships it, a name of QUANTS; "" where we have no such format
    config: dict[str, object]


# Filled when first asked for, so that importing stays quick; each set whole, for any thread.
_READ: dict[str, tuple[Row, ...]] = {}
_KEYS: dict[str, dict[str, Row]] = {}
_SPECS: dict[str, ModelSpec] = {}


def _texts(value: object) -> tuple[str, ...]:
    return tuple([str(item) for item in value]) if isinstance(value, list) else ()


def _row(given: dict[str, object]) -> Row:
    config, parameters = given["config"], given["parameters"]
    assert isinstance(config, dict)
    assert isinstance(parameters, int)
    return Row(
        name=str(given["name"]),
        repo=str(given["repo"]),
        source=str(given["source"]),
        parameters=parameters,
        published=str(given["published"]),
        aliases=_texts(given.get("aliases")),
        native=str(given.get("native", NATIVE)),
        config=config,
    )


def rows() -> tuple[Row, ...]:
    """Every model, family by family."""
    if "all" not in _READ:
        found: list[Row] = []
        for family in FAMILIES:
            models = json.loads(read_text("catalogue", f"{family}.json"))
            found.extend([_row(given) for given in models])
        _READ["all"] = tuple(found)
    return _READ["all"]


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
    if "all" not in _KEYS:
        found: dict[str, Row] = {}
        for row in rows():
            for name in (row.name, row.repo, *row.aliases):
                found.setdefault(canonical(name), row)
        _KEYS["all"] = found
    return _KEYS["all"]


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
    """The model a row describes, with the tower its publisher ships it with; the same object each
    time: what is worked out of it is kept."""
    found = _SPECS.get(row.name)
    if found is None:
        found = spec_from_config(row.config, row.name, f"config.json of {row.repo}")
        if row.native != NATIVE:
            found = replace(found, native=row.native)
        tower = tower_of(row.name, row.config)
        found = found if tower is None else with_parts(found, tower)
        _SPECS[row.name] = found
    return found


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
