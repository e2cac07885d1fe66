"""The tables of models: one field a line, every field known, every name one model's alone."""

import json
import re
from pathlib import Path

import pytest

import mathcore.data
from mathcore.catalogue.models import FAMILIES, PUBLISHED, Row, canonical, find_row, rows
from mathcore.data import read_text
from mathcore.quant.weights import QUANTS

REQUIRED = {"name", "repo", "source", "parameters", "published", "config"}
OPTIONAL = {"aliases", "native"}
KEY = re.compile(r'"[^"]*": ')
MODELS = {family: json.loads(read_text("catalogue", f"{family}.json")) for family in FAMILIES}
EVERY = [model for family in FAMILIES for model in MODELS[family]]


def test_every_table_in_the_folder_is_read() -> None:
    folder = Path(mathcore.data.__file__).parent / "catalogue" / "data"
    assert {path.stem for path in folder.glob("*.json")} == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_line_holds_one_field(family: str) -> None:
    crowded = [
        line
        for line in read_text("catalogue", f"{family}.json").splitlines()
        if len(KEY.findall(line)) > 1 or len(line) > 200
    ]
    assert crowded == []


@pytest.mark.parametrize("model", EVERY, ids=[str(model["name"]) for model in EVERY])
def test_a_model_has_every_field_and_a_source(model: dict[str, object]) -> None:
    assert set(model) >= REQUIRED
    assert set(model) - REQUIRED <= OPTIONAL
    assert str(model["source"]).startswith(("https://huggingface.co/", "https://github.com/"))
    assert model["published"] in PUBLISHED
    assert model.get("native", "") in ("", *QUANTS)
    assert isinstance(model["parameters"], int)
    assert 10**7 <= model["parameters"] <= 5 * 10**12
    config = model["config"]
    assert isinstance(config, dict)
    assert isinstance(config.get("model_type"), str)


def test_an_alias_is_told_once() -> None:
    for model in EVERY:
        aliases = model.get("aliases", [])
        assert len(aliases) == len(set(aliases)), model["name"]


def test_every_model_is_found_by_its_name_its_repository_and_its_aliases() -> None:
    for row in rows():
        for name in (row.name, row.repo, *row.aliases):
            assert find_row(name) is row, name
        assert row.name == row.name.lower()


def test_a_list_is_written_out_as_its_publisher_does() -> None:
    """Gemma 4 E2B: 35 layers, every fifth of them full."""
    row = find_row("gemma-4-e2b")
    assert isinstance(row, Row)
    text = row.config["text_config"]
    assert isinstance(text, dict)
    assert len(text["layer_types"]) == 35
    assert text["layer_types"].count("full_attention") == 7
    assert canonical(row.repo) == "gemma-4-e2b"
