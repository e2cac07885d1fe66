"""`fleet models` as a person meets it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mesh.cli.app import fleet
from mesh.cli.planning import models_where
from mesh.cli.planning.models import count, tokens
from mesh.cli.planning.plan import model_ref
from tests.mathcore.fixtures import write_sparse


def said(*args: str) -> str:
    done = CliRunner().invoke(fleet, ["models", *args], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_every_known_model_has_a_line_with_its_sizes() -> None:
    lines = said().splitlines()
    assert lines[0].split()[:4] == ["MODEL", "PARAMS", "ACTIVE", "CONTEXT"]
    assert len(lines) > 60
    line = next(line for line in lines if line.startswith("llama-3.1-8b "))
    assert line.split()[:4] == ["llama-3.1-8b", "8.03B", "–", "128k"]
    assert "4.6 GiB" in line  # Q4_K_M


def test_a_search_narrows_the_list() -> None:
    assert [line.split()[0] for line in said("llama-3.2").splitlines()[1:]] == [
        "llama-3.2-1b",
        "llama-3.2-3b",
    ]
    assert "no model here holds" in said("no", "such", "model")


@pytest.mark.parametrize("args", [("-o", "json", "phi-4", "mini"), ("phi-4", "mini", "-o", "json")])
def test_programs_read_the_same_as_numbers(args: tuple[str, ...]) -> None:
    found = json.loads(said(*args))
    assert [row["name"] for row in found] == ["phi-4-mini", "phi-4-mini-reasoning"]
    assert found[0]["parameters"] == pytest.approx(found[0]["published_parameters"], rel=0.01)
    assert found[0]["weights_bytes"]["Q8_0"] < found[0]["weights_bytes"]["HF-BF16"]
    assert found[0]["cache_bytes_per_1k_tokens"] == 2 * 32 * 8 * 128 * 2 * 1024
    assert found[0]["repository"] == "microsoft/Phi-4-mini-instruct"


def test_a_model_s_own_format_is_named_where_it_is_not_sixteen_bits() -> None:
    """openai/gpt-oss-20b's safetensors are 13.76 GB."""
    assert "12.8 GiB MXFP4" in said("gpt-oss-20b")
    found = json.loads(said("gpt-oss-20b", "-o", "json"))[0]
    assert found["weights_bytes"][found["native"]] == pytest.approx(13.76e9, rel=0.001)


def test_show_tells_one_model_in_full() -> None:
    text = said("show", "gemma3:27b")
    assert "52 sliding 1024, 10 full" in text
    assert "Q4_K_M" in text
    found = json.loads(said("show", "gemma3:27b", "-o", "json"))
    assert found["layer_kinds"] == {"sliding 1024": 52, "full": 10}
    assert list(found["cache_bytes"]) == ["4096", "32768", "131072"]


def test_show_reads_a_file_with_the_one_size_it_has(tmp_path: Path) -> None:
    total = write_sparse(tmp_path / "m.gguf", 4, 128, 384, 8, 2, 384)
    found = json.loads(said("show", str(tmp_path / "m.gguf"), "-o", "json"))
    assert found["weights_bytes"] == {"F16": total}


def test_show_of_an_unknown_model_is_one_error() -> None:
    done = CliRunner().invoke(fleet, ["models", "show", "lama-3.1-8b"])
    assert done.exit_code != 0
    assert "llama-3.1-8b" in getattr(done.exception, "hint", "")


def test_numbers_are_written_as_model_cards_write_them() -> None:
    written = {
        134_515_008: "135M",
        999_885_952: "1.00B",
        8_030_261_248: "8.03B",
        70_553_706_496: "70.6B",
        1_026_408_232_448: "1.03T",
        7: "7",
    }
    assert {number: count(number) for number in written} == written
    assert [tokens(n) for n in (131_072, 2048, 512, 1000, 0)] == ["128k", "2k", "512", "1000", ""]


def test_only_a_file_s_reference_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon reads files from another folder; every other reference it reads as it is."""
    monkeypatch.chdir(tmp_path)
    kept = ("meta-llama/Llama-3.1-8B", "https://h.test/m.gguf", "ollama:hf.co/a/b", "qwen3:8b")
    assert tuple(model_ref(text) for text in kept) == kept
    assert model_ref("m.gguf") == str(tmp_path / "m.gguf")
    (tmp_path / "folder").mkdir()
    assert model_ref("folder") == str(tmp_path / "folder")


def test_a_file_that_no_program_keeps_has_no_keeper_and_no_stray_comma(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = {"name": "m", "size_bytes": 1, "quick_hash": "a" * 64, "files": [{}]}
    here, there = {**row, "keeper": "", "peer": ""}, {**row, "keeper": "fetched", "peer": "rig"}

    def where(*copies: dict[str, object]) -> str:
        answer = {"models": list(copies), "silent": [], "notes": []}
        monkeypatch.setattr(models_where, "_asked", lambda _: (answer, True))
        return said("--where")

    assert where(here).splitlines()[1].split()[:5] == ["m", "1", "B", "here", "–"]
    assert " fetched " in where(here, there)
    assert ", fetched" not in where(here, there)
