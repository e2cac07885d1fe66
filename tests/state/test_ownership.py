"""Each speaks for its own: no date, no number and no other key takes a device or a job away."""

from dataclasses import replace

import pytest

from mesh.ledger.event import Event
from mesh.policy.commands import WatchJob
from mesh.policy.decide import decide
from mesh.state.answers import bills, job_counts
from mesh.state.learning.learned import learned_from
from mesh.state.learning.observations import observations
from mesh.state.members import MEMBER, RUNNER
from mesh.state.peer_id import short_id
from tests.state.held import busy_devices
from tests.state.trust_story import NAMES, Key, fleet, folded, live

ROOT, CID, DAN = NAMES["root"], NAMES["cid"], NAMES["dan"]
FIRST_MS, FAR_MS = 0, 4_102_444_800_000


def card(key: Key, model: str, device: str = "gpu-1") -> Event:
    return key.say("device_registered", device=device, name="rig", kind="gpu", model=model)


def ran(key: Key, job_id: str, device: str, kinds: str, **end: int) -> list[Event]:
    """A job through some of its events, by their short names."""
    return [
        key.say(f"job_{kind}", device=device, job_id=job_id, model="m", attempt=1, **end)
        for kind in kinds.split()
    ]


@pytest.mark.parametrize("ms", [FIRST_MS, FAR_MS])
def test_no_date_takes_a_device_from_who_was_let_in_first(ms: int) -> None:
    root, *_, events = fleet()
    mine = card(root, "RTX 4090")
    guest = Key("cid", ms=ms)
    events += [root.add("cid", RUNNER), mine, card(guest, "GT 710")]
    state = live(events)
    assert (state.devices["gpu-1"].owner, state.devices["gpu-1"].model) == (ROOT, "RTX 4090")
    events += [card(root, "RTX 4090 Ti"), guest.say("device_removed", device="gpu-1")]
    again = live(events)
    assert again.devices["gpu-1"].model == "RTX 4090 Ti"
    assert live([*events, root.remove("cid", events[-1])]).devices["gpu-1"].owner == ROOT


@pytest.mark.parametrize("prefix", [10, 8])
def test_a_device_named_for_a_key_is_that_keys_whoever_is_senior(prefix: int) -> None:
    root, *_, events = fleet()
    name = f"dev-{short_id(CID)[:prefix]}-gpu0"
    cid = Key("cid")
    events += [card(root, "forged", name), root.add("cid", RUNNER), card(cid, "true", name)]
    assert live(events).devices[name].model == "true"
    assert live([*events, root.say("device_removed", device=name)]).devices == {}  # an admin may


@pytest.mark.parametrize("ms", [FIRST_MS, FAR_MS])
def test_no_date_takes_a_running_job_from_its_home(ms: int) -> None:
    root, *_, events = fleet()
    guest = Key("cid", ms=ms)
    events += [root.add("cid", MEMBER), card(root, "RTX 4090")]
    events += ran(root, "j-1", "gpu-1", "submitted dispatched started")
    said = ran(guest, "j-1", "", "submitted completed")
    state = live([*events, *said])
    assert (state.jobs["j-1"].home, state.jobs["j-1"].status) == (ROOT, "running")
    assert decide(state, ROOT) == [WatchJob("j-1")]
    first = live([*events[:4], *said, *events[4:]])
    assert (first.jobs["j-1"].home, first.jobs["j-1"].status) == (ROOT, "running")


def test_a_job_named_for_a_key_is_that_keys_whoever_is_senior() -> None:
    root, *_, events = fleet()
    name = f"j-{short_id(CID)}-7"
    cid = Key("cid")
    events += [root.add("cid", MEMBER), *ran(root, name, "", "submitted")]
    assert live([*events, *ran(cid, name, "", "submitted")]).jobs[name].home == CID


@pytest.mark.parametrize("kept", [0, 512])
def test_nobody_makes_anothers_device_busy_learned_or_dear(kept: int) -> None:
    root, *_, events = fleet()
    guest = Key("cid")
    events += [root.add("cid", RUNNER), card(root, "RTX 4090")]
    story = "submitted dispatched started"
    events += ran(guest, "x", "gpu-1", story)
    state = live(events, kept)
    assert state.jobs["x"].device_id == "gpu-1"
    assert busy_devices(state) == frozenset()
    paid = {"actual_cost_nusd": 10**15, "throughput_mtps": 1, "tokens_generated": 5}
    events += ran(guest, "y", "gpu-1", f"{story} completed", **paid)
    state = live(events, kept)
    assert job_counts(state) == {"running": 1, "succeeded": 1}
    assert sum(one.cost_nusd for one in bills(state)) == 0
    assert (observations(state), learned_from(state)) == ([], {})
    own = live([*events, *ran(root, "z", "gpu-1", f"{story} completed", **paid)], kept)
    assert sum(one.cost_nusd for one in bills(own)) == 10**15


def test_what_a_device_measured_is_learned_from_its_owner_alone() -> None:
    root, *_, events = fleet()
    guest = Key("cid")
    events += [root.add("cid", RUNNER), card(root, "RTX 4090")]
    for key, count in ((guest, 0), (root, 1)):
        job = {"device": "gpu-1", "job_id": f"o{count}", "model": "m", "attempt": 1}
        said = [
            key.say("job_submitted", **job),
            key.say("job_dispatched", plan={"engine": "llama.cpp"}, **job),
            key.say("job_started", **job),
            key.say("job_completed", throughput_mtps=9, tokens_generated=5, **job),
        ]
        assert len(observations(live([*events, *said]))) == count


def test_a_device_and_a_job_go_to_whoever_is_senior_now() -> None:
    root, ana, *_, events = fleet()
    cid, dan = Key("cid"), Key("dan")
    events += [ana.add("dan", RUNNER), ana.add("cid", RUNNER)]
    events += [card(cid, "cid's", "rig"), card(dan, "dan's", "rig")]
    events += [*ran(cid, "j", "", "submitted"), *ran(dan, "j", "", "submitted")]
    state = live(events)
    assert (state.devices["rig"].owner, state.jobs["j"].home) == (DAN, DAN)
    state = live([*events, root.add("cid", RUNNER, names=[events[4]])])
    assert (state.devices["rig"].owner, state.jobs["j"].home) == (CID, CID)


def test_a_device_an_admin_took_away_comes_back_when_it_is_registered_again() -> None:
    root, *_, events = fleet()
    cid = Key("cid")
    cid.ms = root.ms + 1000
    events += [root.add("cid", RUNNER), card(cid, "RTX 4090", "rig")]
    root.ms = cid.ms + 1000
    gone = root.say("device_removed", device="rig")
    assert live([*events, gone]).devices == {}
    cid.ms = root.ms + 1000
    assert live([*events, gone, card(cid, "RTX 4090", "rig")]).devices["rig"].owner == CID


def test_an_old_job_that_turns_out_to_be_a_seniors_is_folded_again() -> None:
    root, *_, events = fleet()
    guest = Key("cid")
    story = "submitted dispatched started completed"
    events += [root.add("cid", RUNNER), card(guest, "RTX 4090", "rig")]
    for name in ("a", "b"):
        events += ran(guest, name, "rig", story)
    state = folded(events, keep_ended=1)
    assert "a" in state.retired
    assert "b" not in state.retired
    said = ran(root, "a", "", "submitted")
    for order in (events + said, [*events[:3], *said, *events[3:]]):
        again = folded(order, keep_ended=1)
        assert {job: view.home for job, view in again.jobs.items()} == {"a": ROOT, "b": CID}


def test_more_room_for_the_jobs_of_others_is_used() -> None:
    root, *_, events = fleet()
    cid = Key("cid")
    story = "submitted dispatched started completed"
    before = cid.say()
    events += [root.add("cid", RUNNER), before, card(cid, "RTX 4090", "rig")]
    events += [card(root, "RTX 4090", "own"), *ran(root, "r1", "own", story)]
    for name in ("c1", "c2"):
        events += ran(cid, name, "rig", story)
    events += ran(root, "r2", "own", story)
    state = live([*events, root.remove("cid", before)], keep_ended=2)
    assert sorted(state.jobs) == ["r1", "r2"]


def test_what_was_spent_on_a_device_that_nobody_has_is_on_no_bill() -> None:
    root, *_, events = fleet()
    guest = Key("cid")
    story = "submitted dispatched started completed"
    events += [root.add("cid", RUNNER)]
    events += ran(guest, "y", "made-up", story, actual_cost_nusd=10**15)
    assert list(bills(live(events))) == []


def test_an_event_of_a_newer_version_is_kept_and_not_misread() -> None:
    root, *_, events = fleet()
    newer = replace(root.say("note_added", text="v2"), v=2)
    grant = replace(root.add("cid", RUNNER), v=2)
    state = live([*events, newer, grant])
    assert (state.note_count, state.skipped_count, state.event_count) == (0, 2, 5)
    assert state.members.role(CID) == ""


def test_however_much_is_said_about_a_job_it_keeps_a_handful_of_events() -> None:
    root, *_, events = fleet()
    said = ran(root, "j", "d", "submitted " + "dispatched started job_cancel_requested " * 1000)
    state = folded(events + said)
    assert len(state.timelines["j"].steps) <= 4


def test_a_job_leaves_with_the_events_of_who_was_removed_below_them() -> None:
    root, *_, events = fleet()
    cid = Key("cid")
    before = cid.say()
    events += [root.add("cid", RUNNER), before, card(cid, "RTX 4090", "gpu-2")]
    events += ran(cid, "c-1", "gpu-2", "submitted dispatched started completed")
    assert list(live(events).jobs) == ["c-1"]
    state = live([*events, root.remove("cid", before)])
    assert (state.jobs, state.devices, state.note_count) == ({}, {}, 1)


def test_a_device_removed_on_one_branch_stays_removed_when_its_registration_comes_later() -> None:
    """A key that two disks have: one registers, the other takes away what it never registered."""
    root, *_, events = fleet()
    events += [root.add("cid", RUNNER)]
    cid = Key("cid")
    events.append(cid.say())
    other = cid.fork(cid.last)
    registered = card(cid, "RTX 4090", "rig")
    other.ms = cid.ms
    removed = other.say("device_removed", device="rig")
    for order in ([registered, removed], [removed, registered]):
        assert live([*events, *order]).devices == {}
    later = card(other, "GT 710", "rig")
    for order in ([registered, removed, later], [removed, later, registered]):
        assert live([*events, *order]).devices["rig"].model == "GT 710"
