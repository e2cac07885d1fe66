"""Fetching a model from a peer that may hang up, lie, be busy, or send something else."""

from dataclasses import replace
from pathlib import Path

import pytest

from mesh.api.errors import RequestError
from mesh.edge.models import fetch as fetching
from mesh.edge.models import line
from mesh.edge.models.fetch import Fetch, Fetcher, pinned
from mesh.edge.models.line import Stopped, runs
from mesh.edge.models.local import LocalModels
from mesh.edge.models.rates import HASHING, Rates
from providers.models.identity import ModelIdentity
from providers.models.incoming import Chunk
from tests.edge.models.conftest import Peer

DISK = 1_000_000_000


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(line, "HASHING_PAUSE_S", 0.001)


def rates(local: LocalModels) -> Rates:
    return Rates(local.fetched / "rates.json")


def fetched(local: LocalModels, peer: Peer, identity: ModelIdentity | None = None) -> Fetch:
    one = Fetch(identity or peer.identity, "rig", "key")
    Fetcher(local, DISK, 0, rates(local)).run(one, peer.connect)
    return one


def refusal(local: LocalModels, peer: Peer, identity: ModelIdentity | None = None) -> str:
    with pytest.raises(RequestError) as caught:
        fetched(local, peer, identity)
    return f"{caught.value.code}: {caught.value.text}"


def test_what_comes_is_the_model_and_is_found_from_then_on(local: LocalModels, peer: Peer) -> None:
    one = fetched(local, peer)
    here = local.by_id(peer.identity.quick_hash)
    assert here is not None
    assert here.model.path.read_bytes() == peer.parts[0].path.read_bytes()
    assert here.identity.root == peer.identity.root
    assert (one.got_bytes, one.received_bytes) == (peer.identity.size_bytes,) * 2


def test_five_cuts_cost_at_most_seven_percent(local: LocalModels, peer: Peer) -> None:
    peer.cuts = [200_000, 700_001, 65_536, 400_000, 1_000_003]
    fetched(local, peer)
    here = local.by_id(peer.identity.quick_hash)
    assert here is not None
    assert here.model.path.read_bytes() == peer.parts[0].path.read_bytes()
    assert peer.identity.size_bytes <= peer.sent <= 1.07 * peer.identity.size_bytes


def test_a_lying_peer_is_named_with_the_chunk_and_not_asked_again(
    local: LocalModels, peer: Peer
) -> None:
    peer.lie_at = 5 * 65_536 + 7
    said = refusal(local, peer)
    assert said.startswith("BadChunk: chunk 5 of theirs.gguf from rig")
    peer.lie_at = -1
    before = peer.sent
    fetched(local, peer)
    assert peer.sent - before == peer.identity.size_bytes - 5 * 65_536


def test_a_manifest_of_something_else_is_refused(local: LocalModels, peer: Peer) -> None:
    other = replace(peer.identity, root="0" * 64)
    assert refusal(local, peer, other).startswith("BadModel: rig: its content is not the one")
    other = replace(peer.identity, quick_hash="0" * 32)
    assert refusal(local, peer, other).startswith("BadModel: rig: what it sent is not the model")
    assert local.by_id("0" * 32) is None
    assert local.taken_bytes() == 0


@pytest.mark.parametrize(
    "manifest", [None, [], {"chunk_bytes": 65_536, "files": [], "root": ""}, {"files": 3}]
)
def test_an_odd_manifest_is_one_plain_no(local: LocalModels, peer: Peer, manifest: object) -> None:
    peer.manifest = manifest
    assert refusal(local, peer).startswith("BadAnswer: rig is not understood")


def test_a_manifest_that_never_ends_fills_no_memory(
    local: LocalModels, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "MAX_MANIFEST_BYTES", 1000)
    assert "its manifest is too long" in refusal(local, peer)


def test_a_sender_that_hashes_first_or_is_busy_is_waited_for(
    local: LocalModels, peer: Peer
) -> None:
    peer.waits, peer.busy = 3, 2
    one = fetched(local, peer)
    assert one.hashed_bytes == 7
    assert one.predicted is not None


def test_a_peer_that_is_gone_is_given_up_in_one_line(local: LocalModels, peer: Peer) -> None:
    peer.busy = 1_000
    said = refusal(local, peer)
    assert said == "Unreached: rig is not reached: it is busy"
    with pytest.raises(OSError, match="nobody knows where it is"):
        pinned([], b"")


def test_the_disk_s_limit_is_asked_before_a_byte_comes(local: LocalModels, peer: Peer) -> None:
    one = Fetch(peer.identity, "rig", "key")
    with pytest.raises(RequestError, match="may take 1000 B") as caught:
        Fetcher(local, 1000, 0, rates(local)).run(one, peer.connect)
    assert caught.value.code == "DiskLimit"
    assert peer.sent == 0


def test_a_fetch_nobody_wants_any_more_stops_and_keeps_what_came(
    local: LocalModels, peer: Peer
) -> None:
    one = Fetch(peer.identity, "rig", "key")
    one.listeners.append(lambda got, _: one.stop.set() if got > 1_000_000 else None)
    with pytest.raises(Stopped):
        Fetcher(local, DISK, 0, rates(local)).run(one, peer.connect)
    assert local.by_id(peer.identity.quick_hash) is None
    again = fetched(local, peer)
    assert again.received_bytes < peer.identity.size_bytes - 1_000_000


def test_a_rate_is_kept_and_is_what_is_predicted(local: LocalModels, peer: Peer) -> None:
    one = Fetch(peer.identity, "rig", "key")
    rate = 2 * peer.identity.size_bytes
    Fetcher(local, DISK, rate, rates(local)).run(one, peer.connect)
    assert one.predicted is not None
    assert one.predicted.p50 == pytest.approx(500 + 100, rel=0.1)
    assert one.took_ms >= 200  # a burst at the beginning, and the last piece, wait for nothing


def test_what_the_line_made_is_what_the_next_is_predicted_by(
    local: LocalModels, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "LEAST_MEASURED_BYTES", 1_000_000)
    monkeypatch.setattr(fetching, "LEAST_HASHING_S", 0.0)
    peer.waits = 2
    one = fetched(local, peer)
    known = rates(local)
    assert known.of("key") > 8 * peer.identity.size_bytes / (one.took_ms / 1000)
    assert known.of(HASHING + "key") > 0
    local.remove("theirs")
    peer.waits = 0
    again = fetched(local, peer)
    assert again.predicted is not None
    assert again.predicted.p50 == pytest.approx(
        100 + 8000 * peer.identity.size_bytes / known.of("key")
    )


def test_runs_are_what_follows_each_other() -> None:
    def chunk(number: int, index: int) -> Chunk:
        return Chunk(number=number, index=index, size=1)

    places = [(0, 0), (0, 1), (0, 3), (1, 0), (1, 1)]
    found = [[(c.number, c.index) for c in run] for run in runs(chunk(*at) for at in places)]
    assert found == [[(0, 0), (0, 1)], [(0, 3)], [(1, 0), (1, 1)]]
    long = [*runs(chunk(0, i) for i in range(2 * line.RUN_CHUNKS + 1))]
    assert [len(run) for run in long] == [line.RUN_CHUNKS, line.RUN_CHUNKS, 1]


def test_what_a_full_disk_says_is_not_taken_for_a_cut(
    local: LocalModels, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("providers.models.incoming._File.write", full)
    with pytest.raises(OSError, match="No space left"):
        fetched(local, peer)
    assert peer.sent < 2 * peer.identity.size_bytes
    assert not (Path(local.folder(peer.identity.quick_hash)) / "model.json").exists()
