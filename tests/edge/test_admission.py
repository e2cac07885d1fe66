"""What a job must be before the ledger holds it: on a device of this peer, and with room."""

from pathlib import Path

import pytest

from mesh.api.errors import RequestError
from mesh.api.jobs import parse_job
from mesh.edge.dispatch.candidates import usable
from mesh.edge.jobs import admission
from mesh.edge.jobs.admission import admit
from mesh.state.state import State
from providers.prompt import PromptLength, prompt_length
from tests.state.job_story import ANA, BEN, event, told


def fleet() -> State:
    """Ana's probed vm, a vm she described, and Ben's mac."""
    return told(
        [
            event("device_registered", 1, device="a1", name="vm", described_by="probe"),
            event("device_registered", 2, device="a2", name="vm", described_by="hand"),
            event("device_registered", 3, device="a3", name="rig", described_by="hand"),
            event("device_registered", 4, author=BEN, device="b1", name="mac"),
        ]
    )


def on(device: str) -> None:
    admit(fleet(), ANA, parse_job({"command": ["true"], "on": device}))


@pytest.mark.parametrize("device", ["mac", "b1", "any"])
def test_a_device_of_another_member_is_taken(device: str) -> None:
    on(device)


def test_a_name_means_every_device_of_the_machine_and_an_id_one() -> None:
    rig = {"described_by": "probe", "kind": "gpu"}
    box = {"described_by": "probe", "transport": "ssh", "host": "box"}
    state = told(
        [
            event("device_registered", 1, device="c", name="rig", described_by="probe"),
            event("device_registered", 2, device="g0", name="rig-gpu0", **rig),
            event("device_registered", 3, device="g1", name="rig-gpu1", **rig),
            event("device_registered", 4, device="s", name="box", **box),
            event("device_registered", 5, device="s0", name="box-gpu0", kind="gpu", **box),
            event("device_registered", 6, author=BEN, device="b", name="mac"),
        ]
    )
    meant = {
        "rig": "c g0 g1", "rig-gpu1": "g1", "g0": "g0", "c": "c", "box": "s s0", "ssh": "s s0",
        "any": "c g0 g1 s s0 b", "": "c g0 g1 s s0", "gpu0": "",
    }  # fmt: skip
    for wanted, ids in meant.items():
        assert usable(state, ANA, wanted).keys() == set(ids.split()), wanted


def test_a_job_goes_to_a_rented_machine_by_its_name_alone() -> None:
    rented = {"described_by": "probe", "transport": "ssh", "host": "vast-r1", "location": "cloud"}
    state = told(
        [
            event("device_registered", 1, device="c", name="rig", described_by="probe"),
            event("device_registered", 2, device="v", name="vast-r1-gpu0", kind="gpu", **rented),
            event("device_registered", 3, author=BEN, device="w", name="vast-r2", **rented),
        ]
    )
    meant = {"": "c", "any": "c", "ssh": "", "vast-r1": "v", "v": "v", "vast-r2": "w"}
    for wanted, ids in meant.items():
        assert usable(state, ANA, wanted).keys() == set(ids.split()), wanted


def test_without_a_host_that_has_only_ssh_the_way_to_one_is_shown() -> None:
    with pytest.raises(RequestError, match="no host is reached by SSH alone") as caught:
        on("ssh")
    assert "fleet ssh add" in caught.value.hint


@pytest.mark.parametrize("device", ["vm", "a1"])
def test_a_device_of_this_peer_is_taken_also_where_a_described_one_has_its_name(
    device: str,
) -> None:
    on(device)


@pytest.mark.parametrize(
    ("device", "code", "says"),
    [
        ("rig", "NotHere", "described by hand"),
        ("a2", "NotHere", "described by hand"),
        ("nosuch", "NotFound", "nosuch"),
    ],
)
def test_a_device_that_no_job_of_this_peer_can_reach_is_refused(
    device: str, code: str, says: str
) -> None:
    with pytest.raises(RequestError, match=says) as caught:
        on(device)
    assert caught.value.code == code
    assert 400 <= caught.value.status < 500
    if code == "NotHere":
        assert "--on any" in caught.value.hint


def asked(monkeypatch: pytest.MonkeyPatch, counted: int, **given: object) -> tuple[object, object]:
    """(prompt tokens, context) of a job whose prompt has so many tokens."""
    length = PromptLength(tokens=counted, basis="counted")
    monkeypatch.setattr(admission, "weights_path", lambda model, engine: model)
    monkeypatch.setattr(admission, "prompt_length", lambda path, prompt: length)
    job = admit(fleet(), ANA, parse_job({"model": "m.gguf", "prompt": "p", **given}))
    return job.prompt_tokens, job.context


def test_a_prompt_is_counted_and_a_long_one_gets_the_context_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert asked(monkeypatch, 100) == (100, None)  # a plan's own default
    assert asked(monkeypatch, 5000, tokens=100) == (5000, 5100)
    assert asked(monkeypatch, 5000, tokens=100, context=8192) == (5000, 8192)


def test_a_prompt_that_leaves_no_room_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(RequestError, match=r"5000 tokens \(counted\) and the answer 100") as caught:
        asked(monkeypatch, 5000, tokens=100, context=5099)
    assert "--context 5100" in caught.value.hint


def test_a_file_without_a_vocabulary_is_estimated_from_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    found = prompt_length(str(tmp_path / "x.gguf"), "x" * 300)
    assert (found.tokens, found.basis) == (101, "estimated, 3 bytes each")


def test_a_prompt_is_counted_as_the_engine_reads_it(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    from tests.support.tiny_gguf import write_tiny_gguf

    found = prompt_length(str(write_tiny_gguf(tmp_path / "t.gguf")), "qqqqq")
    # The first token of every text, "▁", and five letters that make no longer piece.
    assert (found.tokens, found.basis) == (7, "counted with the model's vocabulary")
