"""How a job's plan becomes what its engine is told, on the device it was sent to."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mesh.api.bodies import Body
from mesh.api.errors import RequestError
from mesh.edge.jobs.cards import cards_of, groups_of, may_be_gang, vendor_of
from mesh.edge.jobs.launching import launch_of
from mesh.edge.jobs.workdir import pack
from mesh.policy.commands import StartJob
from mesh.state.fleet import DeviceView
from mesh.state.fold import apply
from mesh.state.state import State
from providers.engine import llama_server, ollama, tgi, vllm
from providers.engine.devices import selection
from providers.engine.setup import Setup, setup_of
from tests.edge.dispatch.stage import Stage
from tests.edge.test_effects import card, fleet
from tests.state.job_story import ANA, BEN, event, told
from tests.support.tiny_gguf import write_tiny_gguf

PLAN = {
    "engine": "vllm",
    "quant": "BF16",
    "kv_type": "f16",
    "cards": 2,
    "gpu_layers": -1,
    "run": {"split": "tensor"},
    "load_ms": {"p10": 1, "p50": 2, "p90": 90_000},
    "footprint": {"kv_bytes": 1 << 30},
}


def device(name: str, model: str, count: int = 1, kind: str = "gpu") -> DeviceView:
    facts = card("x", 24) | {"model": model, "count": count, "kind": kind}
    return told([event("device_registered", 0, device=name, **facts)]).devices[name]


def planned(plan: dict[str, object], **asked: object) -> State:
    return told(
        [
            event("device_registered", 0, device="d", **card("d", 24)),
            event("job_submitted", 1, job_id="j", batch=3, context=512, **asked),
            event("job_dispatched", 2, device="d", job_id="j", plan=plan),
            event("job_accepted", 3, device="d", job_id="j", attempt=1),
        ]
    )


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder as engines that read safetensors take it; nothing of it is loaded here."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def test_a_plan_for_two_cards_is_what_vllm_is_told(weights: Path) -> None:
    job = planned(PLAN, kind="model", model="m").jobs["j"]
    view = device("box", "RTX 3090", count=4)
    made = launch_of(job, job.attempts[0], Body(model=str(weights), prompt="a secret"), [view])
    setup = made.spec["setup"]
    assert isinstance(setup, dict)
    assert (setup["engine"], setup["cards"], setup["split"]) == ("vllm", ("0", "1"), "tensor")
    assert (setup["context"], setup["parallel"], setup["load_p90_ms"]) == (512, 3, 90_000)
    assert setup["model_path"] == str(weights)
    assert made.cards == ("0", "1")
    assert made.argv[1:] == ("-m", "providers.engine_child.supervisor")
    assert "a secret" not in " ".join(made.argv)
    assert made.spec["prompt"] == "a secret"


def test_weights_that_an_engine_does_not_read_are_refused(weights: Path) -> None:
    job = planned(PLAN | {"engine": "llama.cpp"}, kind="model", model="m").jobs["j"]
    with pytest.raises(RequestError, match="a folder of safetensors, and llama.cpp reads GGUF"):
        launch_of(
            job, job.attempts[0], Body(model=str(weights), prompt="x"), [device("d", "RTX 3090")]
        )


DEVICES = [
    (device("b-gpu1", "RTX 3090"), "nvidia", ("1",)),
    (device("b-gpu12", "RX 7900 XTX"), "amd", ("12",)),
    (device("b-gpu0", "Intel Arc A770"), "intel", ("0",)),
    (device("b-gpu0", "Radeon of tomorrow"), "amd", ("0",)),
    (device("b-gpu0", "M2 Ultra", kind="apple"), "apple", ()),
    (device("b", "EPYC 7763", kind="cpu"), "", ()),
    (device("rig", "A100", count=8), "nvidia", ("0", "1")),
]


@pytest.mark.parametrize(("view", "vendor", "cards"), DEVICES)
def test_a_device_is_its_makers_and_its_cards_are_counted_from_its_name(
    view: DeviceView, vendor: str, cards: tuple[str, ...]
) -> None:
    assert vendor_of(view) == vendor
    assert cards_of(view, 2) == cards


def gang_plan(engine: str, *given: tuple[str, int, int]) -> dict[str, object]:
    """A plan over cards, each of which has so many layers from one on."""
    members = [
        {"device_id": f"rig-gpu{card}", "cards": 1, "layers": layers, "first_layer": first,
         "need_bytes": 1 << 30}
        for card, layers, first in given
    ]  # fmt: skip
    run = {"split": "layer" if engine == "llama.cpp" else "tensor"}
    return {**PLAN, "engine": engine, "cards": len(members), "members": members, "run": run}


def told_to(plan: dict[str, object], path: Path, model: str = "RTX 3090") -> Setup:
    """What an engine is told of a gang; the event's device is the first by id."""
    job = planned(plan, kind="model", model="m").jobs["j"]
    rows: Any = plan["members"]
    views = [device(name, model) for name in sorted(one["device_id"] for one in rows)]
    made = launch_of(job, job.attempts[0], Body(model=str(path), prompt="x"), views)
    setup = setup_of(made.spec)
    assert made.cards == setup.cards
    return setup


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    return write_tiny_gguf(tmp_path / "model.gguf")


def test_a_model_for_embeddings_is_started_for_them(tmp_path: Path, gguf: Path) -> None:
    from gguf import PoolingType

    vectors = write_tiny_gguf(tmp_path / "vectors.gguf", pooling=PoolingType.MEAN)
    plan = gang_plan("llama.cpp", (0, 1, 0), (1, 3, 1))
    assert told_to(plan, vectors).embeddings
    assert not told_to(plan, gguf).embeddings


def test_llama_server_deals_layers_to_a_gangs_cards_in_the_plans_order(gguf: Path) -> None:
    """The card that is filled first has the last layers and the output: it is shown last."""
    setup = told_to(gang_plan("llama.cpp", (1, 50, 31), (0, 20, 11), (3, 11, 0)), gguf)
    assert selection(setup.vendor, setup.cards)["CUDA_VISIBLE_DEVICES"] == "3,0,1"
    assert llama_server.argv(replace(setup, model_path="/m"), 8080) == (
        "--model", "/m", "--alias", "m", "--host", "127.0.0.1", "--port", "8080",
        "--ctx-size", "1536", "--parallel", "3", "--cache-type-k", "f16", "--cache-type-v", "f16",
        "--n-gpu-layers", "999", "--metrics", "--verbosity", "4",
        "--split-mode", "layer", "--tensor-split", "11,20,50",
    )  # fmt: skip


def test_vllm_has_as_many_ranks_and_stages_as_the_plan_over_a_gang(weights: Path) -> None:
    apart = told_to(gang_plan("vllm", (0, 41, 0), (1, 41, 0)), weights)
    assert vllm.argv(replace(apart, model_path="/m"), 7) == (
        "--model=/m", "--served-model-name=m", "--host=127.0.0.1", "--port=7",
        "--max-model-len=512", "--max-num-seqs=3", "--kv-cache-dtype=auto",
        "--tensor-parallel-size=2",
    )  # fmt: skip
    assert "VLLM_PP_LAYER_PARTITION" not in vllm.env(apart, 7, "k")
    both = told_to(gang_plan("vllm", (2, 17, 24), (3, 17, 24), (0, 24, 0), (1, 24, 0)), weights)
    words = vllm.argv(both, 7)
    assert words[-2:] == ("--tensor-parallel-size=2", "--pipeline-parallel-size=2")
    assert selection(both.vendor, both.cards)["CUDA_VISIBLE_DEVICES"] == "0,1,2,3"
    assert vllm.env(both, 7, "k")["VLLM_PP_LAYER_PARTITION"] == "24,16"
    uneven = told_to(gang_plan("vllm", (1, 30, 0), (0, 11, 30)), weights)
    assert vllm.argv(uneven, 7)[-1] == "--pipeline-parallel-size=2"
    assert uneven.cards == ("1", "0")
    assert vllm.env(uneven, 7, "k")["VLLM_PP_LAYER_PARTITION"] == "30,10"


def test_tgi_and_ollama_have_all_cards_of_a_gang(weights: Path, gguf: Path) -> None:
    shard = told_to(gang_plan("tgi", (0, 41, 0), (1, 41, 0)), weights)
    assert "--num-shard=2" in tgi.argv(shard, 7)
    spread = told_to(gang_plan("ollama", (0, 41, 20), (1, 20, 0)), gguf, "Radeon RX 7900 XTX")
    assert selection(spread.vendor, spread.cards) == {"HIP_VISIBLE_DEVICES": "1,0"}
    assert ollama.env(spread, 7, "")["OLLAMA_SCHED_SPREAD"] == "1"
    arc = told_to(gang_plan("llama.cpp", (0, 21, 20), (1, 20, 0)), gguf, "Arc A770")
    assert selection(arc.vendor, arc.cards) == {"ONEAPI_DEVICE_SELECTOR": "level_zero:0,1"}
    assert arc.tensor_split == (21, 20)  # SYCL numbers cards by itself


@pytest.mark.parametrize("rows", [[], [(0, 41, 0)], [(0, 20, 20), (2, 20, 0)]])
def test_a_gang_whose_plan_leaves_a_card_out_is_not_started(
    weights: Path, rows: list[tuple[str, int, int]]
) -> None:
    job = planned(gang_plan("vllm", *rows), kind="model", model="m").jobs["j"]
    views = [device(name, "RTX 3090") for name in ("rig-gpu0", "rig-gpu1")]
    with pytest.raises(RequestError, match="does not say what each of its devices gives"):
        launch_of(job, job.attempts[0], Body(model=str(weights), prompt="x"), views)


def test_a_gang_is_made_of_cards_of_one_host_and_one_maker() -> None:
    views = {
        name: device(name, model, count, kind)
        for name, model, count, kind in (
            ("a", "RTX 3090", 1, "gpu"),
            ("b", "RTX 4090", 1, "gpu"),
            ("c", "Radeon RX 7900 XTX", 1, "gpu"),
            ("d", "RTX 3090", 2, "gpu"),
            ("e", "Ryzen 7 5800X", 1, "cpu"),
        )
    }
    assert groups_of(views) == (("a", "b"),)
    assert may_be_gang(("a", "b"), groups_of(views))
    assert not may_be_gang(("a", "c"), groups_of(views))
    other = replace(views["b"], owner=BEN)
    assert groups_of({**views, "b": other}) == ()


async def test_a_start_that_is_repeated_leaves_a_working_commands_files_alone(
    tmp_path: Path,
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "data").write_text("given")
    home = tmp_path / "home"
    (home / "jobs").mkdir(parents=True)
    stage = Stage(home, fleet(24))
    from mesh.edge.jobs.private import keep_request
    from mesh.edge.jobs.workdir import work_of

    files = pack(home, "c", str(source))
    sealed = keep_request(home, "c", Body(command=("sh", "-c", "echo mine > data"), files=files))
    said = {"body_hash": sealed.body_hash, "body_bytes": sealed.body_bytes}
    for one in (
        event("job_submitted", 40, job_id="c", kind="command", **said),
        event("job_dispatched", 41, device="gpu0", job_id="c"),
        event("job_accepted", 42, author=ANA, device="gpu0", job_id="c", attempt=1),
    ):
        apply(stage.state, one)
    await stage.effects.run(StartJob("c"))
    work = work_of(home, "c", 1)
    launch = json.loads((work.parent / "launch.json").read_text())
    assert launch["spec"]["cwd"] == str(work)
    (work / "data").write_text("changed by the command")
    stage.said.clear()
    await stage.effects.run(StartJob("c"))
    assert (work / "data").read_text() in ("changed by the command", "mine\n")
