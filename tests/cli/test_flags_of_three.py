"""`plan`, `capacity` and `sweep` take the same options of engines, or say why one is not theirs."""

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from mesh.api.errors import RequestError
from mesh.cli.app import fleet
from mesh.cli.exits import code_of
from mesh.cli.planning.capacity import capacity
from mesh.cli.planning.plan import plan
from mesh.cli.planning.sweep import sweep
from mesh.edge.capacity import capacity_query
from mesh.edge.sweep import sweep_query
from mesh.state.state import State

CARD = ("--what-if", "RTX 3090")
# What a plan alone asks: limits, an objective, and how it is shown.
LIMITS = frozenset("max_latency ttft min_tps deadline max_price max_cost min_quality".split())
PLANS_OWN = LIMITS | {"objective", "sets", "explain", "cloud"}


@pytest.fixture(autouse=True)
def no_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_HOME", str(tmp_path / "home"))


def ask(*args: str, width: int = 80) -> Result:
    return CliRunner().invoke(fleet, list(args), env={"COLUMNS": str(width)})


def rows(*args: str) -> list[dict[str, Any]]:
    done = ask(*args, "-o", "json")
    assert done.exit_code == 0, done.output
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def options(command: click.Command) -> dict[str, click.Option]:
    found = (one for one in command.params if isinstance(one, click.Option))
    return {one.name or "": one for one in found}


@pytest.mark.parametrize("command", [capacity, sweep])
def test_what_a_plan_takes_of_engines_the_others_take_by_the_same_names(
    command: click.Command,
) -> None:
    theirs = options(command)
    lengths = {"tokens", "prompt_tokens"} if command is capacity else set()
    for name, one in options(plan).items():
        if name in PLANS_OWN | lengths:
            continue
        assert name in theirs
        assert theirs[name].opts == one.opts or name in ("batch", "context")


def test_placement_of_a_capacity_is_that_of_the_plan() -> None:
    told = ("--n-cpu-moe", "30", "-ngl", "40", "--quant", "Q4_K_M")
    (row,) = rows("capacity", "qwen3-30b-a3b", *CARD, *told)
    assert (row["gpu_layers"], row["cpu_experts"], row["layers"]) == (40, 30, 49)
    planned = json.loads(ask("plan", "qwen3-30b-a3b", *CARD, *told, "-o", "json").stdout)
    assert planned["placements"][0]["gpu_layers"] == 40
    assert set(planned["notes"]) == set(row["notes"])
    wide = ask("capacity", "qwen3-30b-a3b", *CARD, *told, width=120).stdout
    assert "as told: 40 of 49, experts of 30 in RAM" in wide
    assert "Note: RTX 3090: its host has 32.0 GiB of RAM, as assumed: say --ram." in wide


def test_a_tower_and_a_draft_count_in_all_three() -> None:
    beside = ("--draft", "qwen3-0.6b", "--lora", "160MB")
    plain = ("--no-vision",)
    asked = ("qwen3-vl-8b", *CARD, "--quant", "Q8_0")
    (large,), (small,) = rows("capacity", *asked, *plain), rows("capacity", *asked, *beside)
    assert small["largest_context"] < large["largest_context"]
    axes = ("-b", "1", "-c", "4k")
    (cell,), (bare,) = (rows("sweep", *asked, *axes, *more) for more in (beside, plain))
    need = json.loads(ask("plan", *asked, *beside, "-o", "json").stdout)["placements"][0]
    assert cell["needs_bytes"] == need["footprint"]["total_bytes"]
    assert bare["needs_bytes"] == cell["needs_bytes"] - sum(
        need["footprint"][f"{part}_bytes"] for part in ("projector", "draft", "adapter")
    )


def test_cells_under_flags_are_the_plan_s_with_what_lies_in_ram() -> None:
    told = ("--n-cpu-moe", "30", "--no-flash-attn", "-ub", "256")
    asked = ("qwen3-30b-a3b", *CARD, "--quant", "Q4_K_M", *told)
    (cell,) = rows("sweep", *asked, "-b", "2", "-c", "8k", "--prompt-tokens", "1k")
    one = ("-b", "2", "-c", "8k", "--prompt-tokens", "1k", "-o", "json")
    placed = json.loads(ask("plan", *asked, *one).stdout)["placements"][0]
    assert cell["needs_bytes"] == placed["footprint"]["total_bytes"]
    assert cell["host_bytes"] == placed["footprint"]["host_bytes"]
    assert cell["tokens_per_s_p50"] == placed["tokens_per_s"]["p50"]
    assert cell["verdict"] == placed["fit"]


def test_a_grid_that_lacks_ram_says_so() -> None:
    asked = ("sweep", "qwen3-30b-a3b", *CARD, "-b", "1", "-c", "4k", "--cpu-moe", "--ram")
    short, enough = ask(*asked, "8GB", width=60), ask(*asked, "32GB", width=60)
    assert "at least 16.7 GiB of RAM" in short.stdout
    assert code_of(short.exception) == 104  # type: ignore[arg-type]
    said = " ".join(enough.stdout.split())
    assert "Memory is the cards'; what flags leave to the host lies in its RAM." in said
    assert max(map(len, enough.stdout.splitlines())) <= 60
    (cell,) = json.loads(ask(*asked, "8GB", "-o", "json").stdout)
    assert cell["missing_bytes"] == cell["host_bytes"] - (8 << 30)


def test_notes_of_a_sweep_stand_under_its_table_and_beside_its_rows() -> None:
    asked = ("sweep", "qwen3-vl-8b", *CARD, "-b", "1", "-c", "4k")
    table, data = ask(*asked, width=60), ask(*asked, "-o", "csv")
    assert "Note: the vision tower of qwen3-vl-8b is counted" in table.stdout
    assert max(map(len, table.stdout.splitlines())) <= 60
    assert "vision" not in data.stdout
    assert "Note: the vision tower" in data.stderr


@pytest.mark.parametrize("name", ["capacity", "sweep"])
@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--engine", "vllm", "-ngl", "3"), "engine: vllm knows none of llama.cpp's options"),
        (("--engine", "llama.cpp", "--max-num-seqs", "4"), "max_num_seqs: llama.cpp has no such"),
        (("--kv-type", "auto"), "kv_type: auto leaves a choice to a plan"),
        (("-ot", "exps=CUDA0"), "override_tensor: only PATTERN=CPU"),
        (("-ts", "0,0"), "tensor_split: "),
        (("-ctk", "q8_0", "--kv-type", "f16"), "cache_type_k: q8_0, but kv_type is f16"),
        (("-ctv", "q8_0", "--no-flash-attn"), "q8_0 values need flash attention"),
        (("--draft-quant", "Q8_0"), "draft_quant: nothing drafts"),
        (("--draft", "no-such-model"), "draft: "),
        (("--image-size", "512"), "image_size: no vision tower"),
        (("--lora", "nowhere.gguf"), "lora: there is no file"),
    ],
)
def test_a_flag_that_cannot_be_is_one_line_by_its_name(
    name: str, args: tuple[str, ...], says: str
) -> None:
    error = ask(name, "llama-3.1-8b", *CARD, *args).exception
    assert isinstance(error, RequestError)
    assert code_of(error) in (2, 102)
    assert says in error.text
    assert "\n" not in error.text


def test_what_says_nothing_of_a_capacity_or_a_grid_is_refused_by_name() -> None:
    speeds = ask("capacity", "llama-3.1-8b", *CARD, "--backend", "vulkan").exception
    assert isinstance(speeds, RequestError)
    assert speeds.text == "backend: changes speeds alone, and a capacity has none"
    axis = ask("sweep", "llama-3.1-8b", *CARD, "--parallel", "4").exception
    assert isinstance(axis, RequestError)
    assert axis.text == "parallel: a sweep's sequences are an axis"
    beyond = ask("capacity", "llama-2-7b", *CARD, "-c", "8k").exception
    assert isinstance(beyond, RequestError)
    assert "--allow-beyond" in beyond.text
    (row,) = rows("capacity", "llama-2-7b", *CARD, "-c", "8k", "--allow-beyond")
    assert row["most_sequences"] > 0
    assert "beyond 4096" in row["notes"][0]


def test_a_command_and_a_route_give_the_same() -> None:
    told = {"gpu_layers": 20, "n_cpu_moe": 10, "ram": "64GB", "quant": "Q4_K_M"}
    asked = {"model": "qwen3-30b-a3b", "what_if": ["RTX 3090"]}
    typed = ("-ngl", "20", "-ncmoe", "10", "--ram", "64GB", "--quant", "Q4_K_M")
    sent = capacity_query(State(), {**asked, **told})
    assert sent["capacities"] == rows("capacity", "qwen3-30b-a3b", *CARD, *typed)
    cells = sweep_query(State(), {**asked, **told, "batch": "1,2", "context": "4k"})
    assert cells["cells"] == rows("sweep", "qwen3-30b-a3b", *CARD, *typed, "-b", "1,2", "-c", "4k")


def test_without_an_engine_the_one_that_knows_the_flags_is_asked() -> None:
    (server,) = rows("capacity", "llama-3.1-8b", *CARD, "--gpu-memory-utilization", "0.8")
    (local,) = rows("capacity", "llama-3.1-8b", *CARD, "-ub", "1024")
    assert (server["engine"], local["engine"]) == ("vllm", "llama.cpp")
