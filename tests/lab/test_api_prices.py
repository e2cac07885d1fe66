"""How the table of prices of APIs is made of a clone."""

import subprocess
from pathlib import Path

import pytest

from mathcore.market.api_prices import COLUMNS
from scripts.lab.api_prices import is_plain, model_of, per_million, rows_of

COST = {"input": 0.05, "output": 0.08}


def test_a_price_of_a_million_is_whole_nano_dollars() -> None:
    assert per_million(0.05) == "50000000"
    assert per_million(0.003625) == "3625000"
    assert per_million(None) == ""


@pytest.mark.parametrize(
    ("told", "plain"),
    [
        ({"cost": COST}, True),
        ({}, False),
        ({"cost": {"input": 0.05, "output": 0}}, False),
        ({"cost": COST | {"tiers": [1]}}, False),
        ({"cost": COST, "status": "deprecated"}, False),
    ],
)
def test_only_what_is_sold_at_one_price_counts(told: dict[str, object], *, plain: bool) -> None:
    assert is_plain(told) == plain


@pytest.mark.parametrize(
    ("provider", "name", "model"),
    [
        ("groq", "llama-3.1-8b-instant", "llama-3.1-8b"),
        ("novita-ai", "qwen/qwen3-8b-fp8", "qwen3-8b"),
        ("cloudflare-workers-ai", "@cf/openai/gpt-oss-20b", "gpt-oss-20b"),
        ("mistral", "codestral-latest", ""),
        ("novita-ai", "qwen/qwen3-max", ""),
        ("groq", "groq/compound", ""),
    ],
)
def test_a_name_means_a_model_only_where_that_is_sure(provider: str, name: str, model: str) -> None:
    assert model_of(provider, name) == model


def test_a_row_says_when_its_price_was_written_and_last_seen(tmp_path: Path) -> None:
    def commit(day: str) -> None:
        subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
        who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a", "GIT_COMMITTER_NAME": "a"}
        when = {"GIT_COMMITTER_EMAIL": "a", "GIT_COMMITTER_DATE": day, "GIT_AUTHOR_DATE": day}
        subprocess.run(["git", "commit", "-qm", "x"], cwd=tmp_path, check=True, env=who | when)

    subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, check=True)
    models = tmp_path / "providers" / "groq" / "models"
    models.mkdir(parents=True)
    (models.parent / "provider.toml").write_text('doc = "https://example.org"\n')
    file = models / "llama-3.1-8b-instant.toml"
    cost = "[cost]\ninput = 0.05\noutput = 0.08\n"
    file.write_text(f'name = "x"\n{cost}')
    commit("2026-01-02T12:00:00Z")
    file.write_text(f'name = "y"\n{cost}')
    commit("2026-03-04T12:00:00Z")
    (row,) = rows_of(tmp_path, "groq")
    assert tuple(row) == COLUMNS
    assert (row["written"], row["seen"]) == ("2026-01-02", "2026-03-04")
    assert (row["model"], row["input_nusd_per_million"]) == ("llama-3.1-8b", "50000000")
    assert row["cached_nusd_per_million"] == ""
