"""`fleet plan` as a person meets it: hardware brought along, limits, the table, the terms."""

import json
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mesh.api.errors import RequestError
from mesh.api.requests import Ask
from mesh.cli.app import fleet
from mesh.cli.exits import Stop
from mesh.cli.jobs.run import run
from mesh.cli.output import brief_ms, money
from mesh.cli.planning.plan import plan
from mesh.cli.planning.plan_view import (
    brief_runs_as,
    columns,
    headline,
    quality_decided,
    runs_as,
    show_plan,
    speed_from,
    verdict,
)
from mesh.cli.table import table_lines
from tests.cli.fixed_answers import ASKED, NOWHERE, ONLY, PLAN, placement

FLEET = [
    {"name": "rig", "gpu": "RTX 4090", "price": "1600", "backends": "llama.cpp"},
    {"name": "duo", "gpu": "RTX 3090", "count": 2, "price": "700", "backends": "llama.cpp"},
    {"name": "lab", "gpu": "A100 80GB", "price": "12000", "backends": "llama.cpp,vllm"},
]


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of hardware, and a home without a ledger: nothing but the file is planned for."""
    monkeypatch.setenv("FLEET_HOME", str(tmp_path / "home"))
    path = tmp_path / "fleet.json"
    path.write_text(json.dumps(FLEET))
    return path


def ask(path: Path, *args: str, width: int = 0) -> Result:
    env = {"COLUMNS": str(width)} if width else {}
    return CliRunner().invoke(fleet, ["plan", "llama-3-70b", "--fleet", str(path), *args], env=env)


def answer(path: Path, *args: str) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = json.loads(ask(path, *args, "-o", "json").stdout)
    return found


def test_hardware_in_a_file_is_planned_for_without_a_ledger(listed: Path) -> None:
    found = answer(listed, "--quant", "Q4_K_M")
    assert {row["device"] for row in found["placements"]} == {"duo", "lab"}
    assert [(row["device"], row["code"]) for row in found["refusals"]] == [("rig", "NoFit(mem)")]
    assert not (listed.parent / "home").exists()


def test_toml_and_json_say_the_same(listed: Path) -> None:
    lines = []
    for entry in FLEET:
        lines += ["[[device]]", *(f"{key} = {json.dumps(value)}" for key, value in entry.items())]
    path = listed.with_suffix(".toml")
    path.write_text("\n".join(lines))
    assert answer(path) == answer(listed)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[{", "fleet.json is not JSON"),
        ('"rig"', "holds no list of devices"),
        ("[]", "lists no device"),
        ("[1]", "device 1 is not a table"),
        ('[{"name": "a", "gpu": "RTX 4090"}, {"name": "b", "gpu": "Q"}]', "device 2 ('b')"),
        ('[{"name": "a", "gpu": "RTX 4090", "memory": "24"}]', "device 1 ('a'): memory: '24'"),
        ('[{"name": "a", "gpu": "RTX 4090", "ram": "1"}]', "ram"),
        ('[{"name": "a", "gpu": "RTX 4090"}, {"name": "a", "gpu": "RTX 4090"}]', "used twice"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_a_wrong_file_is_one_error_with_file_entry_and_field(
    listed: Path, text: str, says: str
) -> None:
    listed.write_text(text)
    error = ask(listed).exception
    assert isinstance(error, Stop)
    assert says in error.text
    assert str(listed) in error.text


def test_every_limit_of_the_api_is_an_option_of_plan_and_run() -> None:
    """What differs is `max_latency_ms`, the ledger's own form of a time."""
    asked = set(Ask.__struct_fields__) - {"max_latency_ms"}
    for command in (plan, run):
        assert asked <= {parameter.name for parameter in command.params}


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("--max-latency", "1ms"), "TooSlow"),
        (("--ttft", "1ms"), "TooSlow"),
        (("--min-tps", "100000"), "TooSlow"),
        (("--deadline", "1ms"), "TooSlow"),
        (("--max-price", "0.001"), "PriceAboveCap"),
        (("--max-cost", "0"), "CostAboveCap"),
        (("--min-quality", "0.999", "--quant", "Q4_K_M"), "LowQuality"),
    ],
)
def test_a_limit_nothing_keeps_to_refuses_by_its_code(
    listed: Path, args: tuple[str, ...], code: str
) -> None:
    found = ask(listed, *args)
    assert isinstance(found.exception, Stop)
    assert found.exception.exit_code == 104
    assert "Nothing keeps to the limits." in found.stdout
    assert code not in found.stdout
    assert code in ask(listed, *args, "--explain").stdout


def test_a_short_context_leaves_room_for_a_prompt(listed: Path) -> None:
    found = answer(listed, "--on", "duo", "--quant", "Q4_K_M", "-c", "200")
    query = found["query"]
    assert isinstance(query, dict)
    assert (query["prompt_tokens"], query["tokens"]) == (1, 199)


def test_a_limit_that_cannot_be_read_names_its_field(listed: Path) -> None:
    error = ask(listed, "--ttft", "soon").exception
    assert isinstance(error, RequestError)
    assert error.text.startswith("ttft: 'soon'")


def test_what_ifs_and_a_file_are_planned_for_together(listed: Path) -> None:
    found = answer(listed, "--what-if", "RTX 5090 x2", "--what-if", "2x A100 80GB")
    assert {row["device"] for row in found["placements"]} >= {"RTX 5090 x2", "2x A100 80GB"}


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_keeps_to_the_terminal(listed: Path, width: int) -> None:
    lines = ask(listed, width=width).stdout.splitlines()
    assert max(map(len, lines)) <= width
    heads = next(line.split() for line in lines if "DEVICE" in line)
    assert {"FIT", "TOK/S", "TIME"} <= set(heads)


def test_the_explanation_adds_up(listed: Path) -> None:
    found = answer(listed, "--on", "duo", "--quant", "Q4_K_M")
    need = found["placements"][0]["footprint"]
    assert isinstance(need, dict)
    beside = ("total_bytes", "free_bytes", "host_bytes")
    parts = [size for name, size in need.items() if name not in beside]
    assert sum(parts) == need["total_bytes"]
    said = ask(listed, "--on", "duo", "--quant", "Q4_K_M", "--explain").stdout
    assert "Q4_K_M, 2 cards" in said
    for word in ("weights", "cache", "compute", "load", "tokens", "speed from", "pareto     duo"):
        assert word in said


def test_what_is_unusual_about_a_layout_is_said() -> None:
    row = {"quant": "Q6_K", "kv_type": "f16", "cards": 1, "gpu_layers": -1, "cpu_experts": 0}
    assert runs_as(row, 80) == brief_runs_as(row) == "Q6_K"
    assert runs_as({**row, "gpu_layers": 41}, 80) == "Q6_K, 41/81 layers on GPU"
    assert brief_runs_as({**row, "gpu_layers": 41}) == "Q6_K +RAM"
    odd = {**row, "kv_type": "q8_0", "cards": 2, "cpu_experts": 20}
    assert runs_as(odd, 80) == "Q6_K, q8_0 cache, 2 cards, experts of 20 layers in RAM"
    assert brief_runs_as(odd) == "Q6_K x2 +RAM"


def test_the_headline_says_what_was_typed_where_it_is_not_the_model() -> None:
    asked = {**ASKED, "model": "qwen3-8b", "model_ref": "deepseek-r1:8b", "quant": "Q8_0"}
    assert headline(asked) == (
        "qwen3-8b (for deepseek-r1:8b): batch 1, context 4k, prompt 512, answer 256 tokens, "
        "balanced, weights Q8_0"
    )
    assert headline({**asked, "model_ref": "qwen3-8b"}).startswith("qwen3-8b: batch 1")


def test_quality_is_a_column_only_where_nothing_else_explains_the_order() -> None:
    first, second = placement("two hosts", quality=0.9986), placement("one", quality=0.9946)
    assert quality_decided([first, second])
    assert not quality_decided([second, first])
    slower = {**second, "answer_ms": {"p10": 1, "p50": 99_000, "p90": 1}}
    assert not quality_decided([first, slower])


@pytest.mark.parametrize(
    ("basis", "said"),
    [
        ("prior: hbm, bandwidth catalogue", "class prior (HBM cards), bandwidth catalogue"),
        ("2 hosts, prior: RTX 3090 and hbm", "2 hosts, prior of RTX 3090 and HBM cards"),
        ("learned from 2 jobs on this device", "learned from 2 jobs on this device"),
    ],
)
def test_what_a_speed_rests_on_is_said_in_words(basis: str, said: str) -> None:
    assert speed_from(basis) == said


def shown(found: dict[str, object], capsys: pytest.CaptureFixture[str]) -> str:
    show_plan(found, explain=False, command=lambda _: "fleet plan llama3:70b")
    return capsys.readouterr().out


def test_an_unknown_cost_is_no_zero_and_a_part_of_one_a_lower_bound(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = shown(PLAN, capsys).splitlines()
    assert "unknown" in next(line for line in lines if "strix-halo" in line)
    assert "≥$0.00080" in next(line for line in lines if "duo" in line)
    assert not any("$0 " in line for line in lines)


def test_devices_refused_for_one_reason_stand_on_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = shown(PLAN, capsys)
    assert "  gaming-pc, attic, laptop and 2 more: Q4_K_M needs 40.8 GiB" in said
    assert "NoFit" not in said


def test_devices_nobody_asked_about_are_counted_not_listed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = shown(ONLY, capsys)
    assert "5 other devices not asked about: --on lab." in said
    assert "Refused" not in said


def test_a_way_out_is_a_command_that_can_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(NOWHERE, capsys)
    assert "try: fleet plan llama3:70b --quant IQ2_XXS" in said
    assert verdict(NOWHERE["refusals"]) == "It fits nowhere."


def test_the_command_of_a_way_out_keeps_what_was_typed(
    listed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.cli.planning.plan.ask_plan", lambda _: NOWHERE)
    found = ask(listed, "--quant", "F16", "-b", "2", "--what-if", "RTX 4090", "--no-sets")
    kept = f"fleet plan llama-3-70b --batch 2 --what-if 'RTX 4090' --fleet {listed} --no-sets"
    assert f"try: {kept} --quant IQ2_XXS\n" in found.stdout


def test_numbers_are_short_and_keep_what_matters() -> None:
    assert [money(n) for n in (0, 253_400, 4_000_000, 280_000_000, 1_600_000_000_000)] == [
        "$0",
        "$0.00025",
        "$0.0040",
        "$0.28",
        "$1600.00",
    ]
    shown = [brief_ms(n) for n in (250, 2_500, 12_900, 200_000, 7_500_000)]
    assert shown == ["250ms", "2.5s", "12s", "3m20s", "2h05m"]


def test_a_name_cannot_smuggle_control_characters(listed: Path) -> None:
    found = answer(listed)
    row = {**found["placements"][0], "device": "rig\x1b[31m"}
    lines = table_lines(columns([row], {"query": {"layers": 80}}), [row], 120, "")
    assert not any("\x1b" in line for line in lines)


@pytest.mark.parametrize(
    "args",
    [
        ("glm-4.6", "--what-if", "MI300X", "--engine", "llama.cpp", "--quant", "Q4_K_M"),
        ("llama-3-70b", "--what-if", "RTX 4090", "--quant", "Q8_0"),
        ("llama3.1:8b", "--what-if", "RTX 3060", "--quant", "Q8_0", "--context", "131072"),
        ("llama3.1:8b", "--what-if", "RTX 3060", "--quant", "Q8_0", "--batch", "64"),
        ("llama3.1:8b", "--what-if", "RTX 4090", "--engine", "mlx"),
    ],
)
def test_what_is_named_where_nothing_fits_can_be_typed(
    args: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_HOME", str(tmp_path / "home"))
    found = CliRunner().invoke(fleet, ["plan", *args, "-o", "json"])
    assert isinstance(found.exception, Stop)
    shown = json.loads(found.stdout)
    assert shown["question"]["model_ref"] == args[0]
    typable = [way for way in shown["ways_out"] if way["kind"] != "offload"]
    assert typable
    for way in typable:
        again = CliRunner().invoke(fleet, ["plan", *args, *way["options"], "-o", "json"])
        assert again.exit_code == 0, way


def test_each_way_out_is_a_whole_command_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_HOME", str(tmp_path / "home"))
    args = ["plan", "llama-3-70b", "--what-if", "RTX 4090", "--quant", "Q8_0"]
    said = CliRunner().invoke(fleet, args).stdout
    commands = [line.partition("try: ")[2] for line in said.splitlines() if "try: " in line]
    assert len(commands) >= 3
    for command in commands:
        words = shlex.split(command)
        assert words[0] == "fleet"
        assert CliRunner().invoke(fleet, words[1:]).exit_code == 0, command
