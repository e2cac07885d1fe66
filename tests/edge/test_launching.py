"""How a job's plan becomes what its engine is told, on the device it was sent to."""

import json
from pathlib import Path

import pytest

from mesh.api.bodies import Body
from mesh.api.errors import RequestError
from mesh.edge.jobs.launching import cards_of, launch_of, vendor_of
from mesh.edge.jobs.workdir import pack
from mesh.policy.commands import StartJob
from mesh.state.fleet import DeviceView
from mesh.state.fold import State, apply
from tests.edge.dispatch.stage import Stage
from tests.edge.test_effects import card, fleet
from tests.state.job_story import ANA, event, told

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
    made = launch_of(job, job.attempts[0], Body(model=str(weights), prompt="a secret"), view)
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
            job, job.attempts[0], Body(model=str(weights), prompt="x"), device("d", "RTX 3090")
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
