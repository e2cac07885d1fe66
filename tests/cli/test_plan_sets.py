"""Several devices together, as a person asks for them and reads the answer."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mesh.api.errors import RequestError
from mesh.cli.app import fleet
from mesh.edge.planning import what_ifs

CARDS = "RTX 4090 + RTX 3090"


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_HOME", str(tmp_path / "home"))


def ask(*args: str) -> Result:
    return CliRunner().invoke(fleet, ["plan", "llama-3-70b", "--quant", "Q4_K_M", *args])


def answer(*args: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(ask(*args, "-o", "json").stdout)["placements"]
    return found


def test_a_what_if_of_two_cards_is_one_host_that_holds_what_neither_does() -> None:
    (row,) = answer("--what-if", CARDS)
    assert row["device"] == CARDS
    assert str(row["basis"]).startswith("2 devices of one host, prior")
    assert row["cards"] == 2


def test_two_what_ifs_are_two_hosts() -> None:
    (row,) = answer("--what-if", "RTX 4090", "--what-if", "RTX 3090")
    assert str(row["basis"]).startswith("2 hosts, prior")
    (same,) = answer("--what-if", "RTX 3090", "--what-if", "RTX 3090")
    assert same["device"] == "RTX 3090 + RTX 3090 #2"


def test_cards_of_a_kind_are_counted_in_a_host_of_several_kinds() -> None:
    found = list(what_ifs(["2x RTX 4090 + RTX 3090", "RTX 3090"]).values())
    assert [(one.name, one.count) for one in found] == [
        ("2x RTX 4090", 2),
        ("RTX 3090", 1),
        ("RTX 3090 #2", 1),
    ]
    assert found[0].host == found[1].host != ""
    assert found[2].host == ""


def test_sets_can_be_left_out() -> None:
    assert answer("--what-if", CARDS, "--no-sets") == []
    assert len(answer("--what-if", CARDS, "--sets")) == 1


def test_a_file_names_the_host_its_devices_share(tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    rig = {"gpu": "RTX 4090", "host": "rig", "network": "10Gbit/s"}
    path.write_text(json.dumps([{"name": "a", **rig}, {"name": "b", **rig}]))
    (row,) = answer("--fleet", str(path))
    assert str(row["basis"]).startswith("2 devices of one host")


@pytest.mark.parametrize(
    ("what_if", "says"),
    [
        ("RTX 4090 +", "a card is missing beside the +"),
        ("+ RTX 4090", "a card is missing beside the +"),
        ("RTX 4090 + + L4", "a card is missing beside the +"),
        ("RTX 4090 + Frobnicator", "'Frobnicator' is not in the catalogue"),
        ("RTX 4090 + RTX 3090 x99", "99 cards"),
        (" + ".join(["L4"] * 9), "9 kinds of cards"),
    ],
)
def test_a_wrong_what_if_is_one_line(what_if: str, says: str) -> None:
    error = ask("--what-if", what_if).exception
    assert isinstance(error, RequestError)
    assert says in error.text
    assert "\n" not in error.text


@pytest.mark.parametrize(("field", "wrong"), [("network", "fast"), ("host", "a b"), ("host", "")])
def test_a_wrong_host_or_network_names_its_field(tmp_path: Path, field: str, wrong: str) -> None:
    path = tmp_path / "fleet.json"
    path.write_text(json.dumps([{"name": "a", "gpu": "RTX 4090", field: wrong}]))
    error = ask("--fleet", str(path)).exception
    assert error is not None
    assert f"device 1 ('a'): {field}" in error.text  # type: ignore[attr-defined]


def test_the_explanation_shows_what_each_member_does() -> None:
    text = ask("--what-if", CARDS, "--explain").stdout
    for words in ("on RTX 4090: 43 layers, 1 card", "on RTX 3090: 38 layers, 1 card", "hops"):
        assert words in text


def test_a_narrow_terminal_shortens_the_names_of_a_set() -> None:
    args = ["plan", "llama-3-70b", "--what-if", CARDS, "--what-if", "RTX 4090 x2"]
    args += ["--engine", "llama.cpp"]
    text = CliRunner().invoke(fleet, args, env={"COLUMNS": "80"}).stdout
    assert "RTX 4090 x2 +1 " in text or "RTX 4090 x2 + R" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_sweep_says_that_it_takes_one_kind_of_card() -> None:
    found = CliRunner().invoke(fleet, ["sweep", "llama-3-8b", "--what-if", CARDS])
    assert "fleet plan takes several" in str(getattr(found.exception, "hint", ""))
