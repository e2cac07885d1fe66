"""Options that many commands share: one notation, one name, and help that says the defaults."""

from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner, Result

from mathcore.units import parse_count
from mesh.api.requests import DEFAULT_PROMPT_TOKENS, DEFAULT_TOKENS, PlanRequest
from mesh.cli.app import fleet
from mesh.cli.exits import Stop
from mesh.cli.jobs.bench import bench
from mesh.cli.options import TOKENS, Renamed, given
from mesh.cli.planning.capacity import capacity
from mesh.cli.planning.plan import plan
from mesh.cli.planning.sweep import sweep


def ask(*args: str) -> Result:
    return CliRunner().invoke(fleet, list(args))


@pytest.mark.parametrize(("text", "count"), [("4096", 4096), ("8k", 8192), ("1M", 1 << 20)])
def test_counts_are_written_as_engines_write_them(text: str, count: int) -> None:
    assert parse_count(text) == TOKENS.convert(text, None, None) == count


@pytest.mark.parametrize("text", ["", "k", "8kk", "-1", "0", "1.5", "9999999m", "²"])
def test_a_count_nobody_could_mean_is_one_error(text: str) -> None:
    with pytest.raises(click.BadParameter):
        TOKENS.convert(text, None, None)


@pytest.mark.parametrize("command", [plan, bench, capacity, sweep])
def test_every_count_takes_the_same_notation(command: click.Command) -> None:
    counted = {"batch", "context", "tokens", "prompt_tokens"}
    for one in command.params:
        takes_lists = command is sweep and one.name in ("batch", "context")
        if one.name in counted and not takes_lists:
            assert one.type.convert("8k", one, None) == 8192


def test_a_context_of_8k_is_8192_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}
    monkeypatch.setattr("mesh.cli.planning.plan.ask_plan", lambda query: asked.update(query) or {})
    ask("plan", "llama-3-8b", "-c", "8k", "--tokens", "1k")
    assert (asked["context"], asked["tokens"]) == (8192, 1024)


@pytest.mark.parametrize("command", [plan, bench, capacity, sweep])
def test_a_device_is_named_by_on_everywhere_and_by_device_as_before(command: click.Command) -> None:
    (option,) = [one for one in command.params if one.name == "on"]
    assert isinstance(option, Renamed)
    assert (option.known_as(), option.opts) == (["--on"], ["--on", "--device"])
    help_text = command.get_help(click.Context(command))
    assert "--on DEVICE" in help_text
    assert "--device" not in help_text


def test_help_says_the_api_s_own_defaults() -> None:
    said = " ".join(plan.get_help(click.Context(plan)).split())
    for option, default in (
        ("sequences at once", "1"),
        ("8192 or 8k", "4k"),
        ("tokens to generate per sequence", str(DEFAULT_TOKENS)),
        ("tokens in the prompt", str(DEFAULT_PROMPT_TOKENS)),
        ("what the best one is", "balanced"),
    ):
        assert f"{option} [default: {default}]" in said
    fields = {one.name: one.default for one in msgspec.structs.fields(PlanRequest)}
    assert (fields["batch"], fields["context"]) == (1, 4096)
    assert fields["objective"] == "balanced"


def test_every_option_has_a_help_text() -> None:
    def walk(command: click.Command) -> None:
        for one in command.params:
            if isinstance(one, click.Option) and not one.hidden:
                assert one.help, f"{command.name}: {one.opts}"
        for inner in getattr(command, "commands", {}).values():
            walk(inner)

    walk(fleet)


def test_ram_and_rent_go_with_the_hardware_they_are_said_of() -> None:
    said: dict[str, object] = {"what_if": ("RTX 4090",), "ram": "128GB", "rate": "0.45/h"}
    assert given(said) == {"what_if": ["RTX 4090"], "ram": "128GB", "rate": "0.45/h"}
    with pytest.raises(Stop, match="says something of hardware") as caught:
        given({"ram": "128GB"})
    assert "--what-if" in caught.value.hint


@pytest.mark.parametrize("args", [("--csv",), ("-o", "csv")])
def test_comma_separated_rows_are_asked_for_in_both_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...]
) -> None:
    monkeypatch.setenv("FLEET_HOME", str(tmp_path))
    ask("note", "opens the ledger")
    assert ask("cost", *args).stdout.startswith("period,device_id,")
    cells = ("-b", "1", "-c", "2k", "--what-if", "RTX 4090")
    assert ask("sweep", "llama-3-8b", *cells, *args).stdout.startswith("device,quant,batch,")
    assert "--csv" not in ask("cost", "--help").stdout


def test_a_model_without_a_name_is_refused() -> None:
    for text in ("", "  "):
        error = ask("plan", text).exception
        assert isinstance(error, Stop)
        assert (error.exit_code, error.text) == (2, "no model was named")
