"""The structs of facts write what was always written and read whatever a peer signed."""

import json
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcore.planner.render import plan_dict
from mathcore.speed.terms import Run
from mathcore.speed.work import Work
from mesh.api.bodies import seal
from mesh.api.hardware import parse_device
from mesh.api.jobs import JobRequest, body_of, job_fact, parse_job
from mesh.api.requests import parse_plan
from mesh.edge.inventory import READINGS
from mesh.edge.jobs.outcomes import plan_fact
from mesh.edge.planning import make_plan
from mesh.ledger import codec
from mesh.state.bills.books import TYPES as BOOKS
from mesh.state.budgets.budgets import TYPES as BUDGETS
from mesh.state.facts.device import DescribedDevice, DeviceRegistered
from mesh.state.facts.events import EVENTS
from mesh.state.facts.fact import Fact, Payload, bare, decode, encode, exact, marks, text, whole
from mesh.state.facts.job import JobEnded, JobSealed, JobSubmitted
from mesh.state.facts.member import FleetFounded, Membership, PeerReachable
from mesh.state.facts.offers import OfferRow
from mesh.state.facts.plan import (
    MemberFact,
    MemoryFact,
    Percentiles,
    PlanFact,
    RunFact,
    WorkFact,
)
from mesh.state.facts.serving import TailFact, UsageRow
from mesh.state.jobs import TYPES as JOBS
from mesh.state.learning.learned import (
    knowledge,
    learned_from,
    run_fact,
    run_of,
    work_fact,
    work_of,
)
from mesh.state.members import TYPES as MEMBERSHIP
from mesh.state.rentals.rentals import TYPES as RENTALS
from mesh.state.serving.serving import TYPES as SERVING
from mesh.state.upkeep import FOLDS
from scripts.events_doc import PAGE, page
from tests.golden.ledger.describe import described, digest
from tests.golden.ledger.junk import cases, folded
from tests.state.test_learned import RUN, WORK, after

KEPT = Path(__file__).parent.parent / "golden" / "ledger"
FORMS = [form for forms in EVENTS.values() for form in forms]
INSIDE: list[type[Fact]] = [PlanFact, MemberFact, MemoryFact, Percentiles, UsageRow, TailFact]
INSIDE.append(OfferRow)
EXACT: list[type[Fact]] = [RunFact, WorkFact]  # all of it is read, or nothing
FEW = settings(max_examples=25)  # of each of some twenty structs
READ: list[type[Fact]] = [DeviceRegistered, JobEnded, Membership]
UPKEEP = {"device_drained", "device_resumed", "device_reserved", "reservation_ended"}
SINCE_DISPATCH = {
    "job_accepted",
    "job_returned",
    "job_replaced",
    "job_adopted",
    "job_paused",
    "job_resumed",
    "telemetry_summarised",
    "offers_refreshed",
    *UPKEEP,
    *SERVING,
    *RENTALS,
    *BOOKS,
    *BUDGETS,
}
NEWER_FORMS: set[type[Fact]] = {
    FleetFounded,
    JobSealed,
    *(form for name in SINCE_DISPATCH for form in EVENTS[name]),
}  # that earlier programs did not write
# Written by a "newer peer" in the kept ledger, with fields nobody here knows.
NEWER_DEVICE, NEWER_JOB, NEWER_TYPES = "dev-rented", "ben-rented", {"rental_offered", "budget_set"}

NEW_TYPES = {"fleet_founded", *SINCE_DISPATCH}  # since 0.2 to 0.6

INTEGERS = st.integers(-codec.MAX_INT, codec.MAX_INT)
AMOUNTS = st.integers(0, codec.MAX_INT)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def values(of: Any) -> st.SearchStrategy[Any]:
    """What a field of this type may hold."""
    kind = bare(of)
    if marks(of).get("least") is not None:
        return AMOUNTS
    if get_origin(kind) is UnionType:
        inner, other = get_args(kind)
        return (st.none() if other is type(None) else st.just(msgspec.UNSET)) | values(inner)
    if isinstance(kind, type) and issubclass(kind, Fact):
        return facts(kind)
    if get_origin(kind) is tuple:
        return st.lists(values(get_args(kind)[0]), max_size=3).map(tuple)
    found: dict[object, st.SearchStrategy[Any]] = {
        int: INTEGERS, str: TEXTS, bool: st.booleans(), dict: st.dictionaries(TEXTS, JSON),
    }  # fmt: skip
    return found[get_origin(kind) or kind]


def facts(kind: type[Fact]) -> st.SearchStrategy[Any]:
    """Any struct of a kind."""
    given = {one.name: values(one.type) for one in msgspec.structs.fields(kind)}
    return st.builds(kind, **given)


def spoilt(kind: type[Fact]) -> st.SearchStrategy[Payload]:
    """A payload with some fields of a kind as junk, and others nobody knows."""
    known = [st.just(one.encode_name) for one in msgspec.structs.fields(kind)]
    return st.dictionaries(st.one_of(*known, TEXTS), JSON, max_size=8)


def form_of(event_type: str, payload: Payload) -> Fact | None:
    """The form that has every field of a payload."""
    for form in EVENTS[event_type]:
        found = exact(form, payload)
        if found is not None and payload.keys() <= set(form.__struct_encode_fields__):
            return found
    return None


def kept_events() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (KEPT / "ledger.jsonl").read_text().splitlines()]


def is_ours(event: dict[str, Any]) -> bool:
    newer = event["event_type"] in NEWER_TYPES or event["v"] > 1
    job = event["payload"].get("job_id")
    return not (newer or event["device_id"] == NEWER_DEVICE or job == NEWER_JOB)


# Written


def test_each_type_that_is_folded_has_a_struct() -> None:
    other = {"device_registered", "device_removed", "note_added", "telemetry_summarised"}
    other |= {"offers_refreshed"}
    other |= {*FOLDS, *MEMBERSHIP, *JOBS}
    assert set(EVENTS) == other | SERVING | RENTALS | BOOKS | BUDGETS


@pytest.mark.parametrize("event_type", sorted(set(EVENTS) - NEW_TYPES))
def test_what_was_written_comes_back_byte_for_byte(event_type: str) -> None:
    seen = [e["payload"] for e in kept_events() if e["event_type"] == event_type and is_ours(e)]
    assert seen
    for payload in seen:
        found = form_of(event_type, payload)
        assert found is not None, payload
        assert codec.encode(encode(found)) == codec.encode(payload)


def test_each_form_was_written_by_the_earlier_program() -> None:
    seen = {type(form_of(e["event_type"], e["payload"])) for e in kept_events() if is_ours(e)}
    assert seen == set(FORMS) - NEWER_FORMS


def test_a_plan_that_was_signed_comes_back_byte_for_byte() -> None:
    signed = [e["payload"]["plan"] for e in kept_events() if "plan" in e["payload"] and is_ours(e)]
    assert len(signed) == 8
    for plan in signed:
        for kind, payload in ((PlanFact, plan), (RunFact, plan["run"]), (WorkFact, plan["work"])):
            found = exact(kind, payload)
            assert found is not None
            assert encode(found) == payload


@pytest.mark.parametrize("kind", [*FORMS, *INSIDE, *EXACT])
@FEW
@given(data=st.data())
def test_whatever_is_encoded_can_be_signed_and_decodes_to_itself(
    kind: type[Fact], data: st.DataObject
) -> None:
    fact = data.draw(facts(kind))
    payload = encode(fact)
    assert codec.decode(codec.encode(payload)) == payload
    assert decode(kind, payload) == fact
    assert encode(decode(kind, payload)) == payload


def test_a_plan_made_now_has_no_field_without_a_struct() -> None:
    """What the planner shows of a placement is signed: a field it gains must be described."""
    _, device = parse_device({"name": "box", "gpu": "RTX 4090"})
    asked = {"model": "llama-3.1-8b", "fleet": [{"name": "box", "gpu": "RTX 4090"}]}
    made = make_plan(folded([]), parse_plan(asked))
    rows: Any = plan_dict(made)["placements"]
    (chosen,) = made.placements
    signed = plan_fact(rows[0]) | knowledge(chosen.run, chosen.work) | {"model": "Llama"}
    found = exact(PlanFact, signed)
    assert found is not None
    assert encode(found) == signed
    assert exact(DescribedDevice, device) is not None


TYPED = {"prompt", "command", "cwd", "env"}  # in the body, and in no event
NOT_SIGNED = TYPED | {"lines", "serve", "workdir"}  # signed as a number, and as a kind


def test_everything_a_job_may_ask_for_is_signed_but_what_was_typed() -> None:
    asked = {
        "job_id": "j", "model": "m.gguf", "prompt": "hi", "context": 4096, "cwd": "/srv",
        "batch": 2, "tokens": 9, "prompt_tokens": 8, "engine": "vllm", "quant": "Q4_0",
        "kv_type": "f16", "max_latency": "30s", "max_latency_ms": 5, "ttft": "1s",
        "deadline": "5m", "min_tps": 3, "max_price": "0.5", "max_cost": "1", "min_quality": "0.9",
        "objective": "fastest", "on": "box", "command": [], "env": {},
        "lines": "", "serve": False, "workdir": None, "label": " nightly\nrun ",
        "priority": "high", "preemptible": True, "retries": 3,
        "on_disconnect": "replace:10m", "reconcile": "keep_original", "key": "ci",
    }  # fmt: skip
    assert set(asked) == set(JobRequest.__struct_fields__)
    request = parse_job(asked | {"model": "/home/ana/m.gguf"})
    sealed = seal(body_of(request), b"salt")
    signed = encode(job_fact("j", request, sealed, "m.gguf", 4096, "k-1"))
    kept = {name: value for name, value in asked.items() if name not in NOT_SIGNED}
    del kept["on_disconnect"], kept["key"]
    assert signed == kept | {
        "key_id": "k-1",
        "kind": "model", "min_tps": "3.0", "label": "nightly run", "model_bytes": 4096,
        "body_hash": sealed.body_hash, "body_bytes": sealed.body_bytes, "priority": 75,
        "replace_after_ms": 600_000,
    }  # fmt: skip
    assert set(signed) == set(JobSubmitted.__struct_encode_fields__) - TYPED - {"lines"}


def test_a_job_that_asks_for_little_is_signed_with_little() -> None:
    request = parse_job({"command": ["ls", "-l"]})
    signed = encode(job_fact("j", request, seal(body_of(request), b"salt"), "ls"))
    assert len(str(signed.pop("body_hash"))) == 64
    assert signed == {
        "job_id": "j", "kind": "command", "label": "ls", "batch": 1, "objective": "balanced",
        "body_bytes": len('{"command":["ls","-l"]}'),
    }  # fmt: skip


# Read


@pytest.mark.parametrize("kind", [*FORMS, *INSIDE, *READ])
@FEW
@given(data=st.data())
def test_any_payload_at_all_is_read(kind: type[Fact], data: st.DataObject) -> None:
    payload = data.draw(spoilt(kind))
    fact = decode(kind, payload)
    for one in msgspec.structs.fields(kind):
        found, signed = getattr(fact, one.name), payload.get(one.encode_name)
        of = bare(one.type)
        if of is int:
            least = marks(one.type)["least"]
            signed = whole(payload, one.encode_name)
            assert found == (signed if least is None else max(least, signed))
        elif of is str and not marks(one.type)["as_text"]:
            assert found == text(payload, one.encode_name)
        elif get_origin(of) is tuple:
            assert found == tuple(each_read(get_args(of)[0], signed))


def each_read(of: Any, signed: object) -> list[object]:
    """What a list's elements are read as."""
    given = signed if isinstance(signed, list) else []
    if of is str:
        return [str(one) for one in given]
    if of is int:
        return [whole({"": one}, "") for one in given]
    return [decode(of, one if isinstance(one, dict) else {}) for one in given]


def test_what_is_missing_or_of_another_type_is_unknown() -> None:
    odd: Payload = {"name": 5, "count": True, "engines": "vllm", "watts": None, "colour": "red"}
    fact = decode(DeviceRegistered, odd)
    assert (fact.name, fact.count, fact.engines, fact.watts, fact.kind) == ("", 0, (), 0, "")
    assert decode(PeerReachable, {"addresses": "here"}).addresses is None
    assert decode(PeerReachable, {"addresses": []}).addresses == ()
    assert decode(PeerReachable, {"addresses": ["a", 1]}).addresses == ("a", "1")
    assert decode(PlanFact, {"duration_ms": {"p50": 7}}).duration_ms == Percentiles(
        p10=0, p50=7, p90=0
    )
    assert decode(PlanFact, {"engine": 7}).engine == "7"


def test_junk_folds_as_it_did_before_there_were_structs() -> None:
    then = json.loads((KEPT / "junk.json").read_text())
    now = {name: digest(described(folded(story)))[:16] for name, story in cases()}
    assert len(now) > 2000
    other = {name for name in then.keys() | now.keys() if then.get(name) != now.get(name)}
    # Since 0.2 a removal without an epoch ends every grant, and one that names an event nobody has
    # leaves nothing until it comes. A run or a model that can't be teaches nothing, and no device
    # has more cards than any host. Since 0.3 what is said of another attempt is not said of the
    # first, and a job whose owner nobody names is its home's.
    assert {" ".join(name.split()[:2]) for name in other if "below zero" not in name} == {
        "device_registered count",
        "job_cancelled attempt",
        "job_completed attempt",
        "job_dispatched attempt",
        "job_dispatched owner",
        "job_failed attempt",
        "job_started attempt",
        "peer_removed epoch",
        "peer_removed until_hash",
        "run away",
        "run devices",
        "run replicas",
        "work active",
        "work experts_used",
    }
    # And an amount below zero, which lowered bills, is none.
    assert sum("below zero" in name for name in other) > 40


def test_readings_change_without_a_device_having_changed() -> None:
    assert sorted(READINGS) == [
        "bandwidth_bytes_per_s", "disk_free_bytes", "disk_read_bytes_per_s", "free_bytes",
        "free_low_bytes", "ram_bandwidth_bytes_per_s", "ram_free_bytes",
    ]  # fmt: skip


# Learned


def test_the_names_that_are_signed_are_those_of_the_first_version() -> None:
    """Whatever the speed model calls them: these bytes are on every peer's disk."""
    assert codec.encode(encode(run_fact(RUN))) == (
        b'{"away":"-1.0","batch":1,"bits":"4.9","depth":"576.0","devices":1,"engine":"llama.cpp",'
        b'"generated":128,"kv_scale":"1.0","mixed":false,"prompt":512,"ram_bandwidth":"0.0",'
        b'"replicas":1,"split":"layer"}'
    )
    assert codec.encode(encode(work_fact(WORK))) == (
        b'{"active":8000000000,"basis":"tensors","dense_bytes":5000000000,"expert_bytes":0,'
        b'"experts":0,"experts_used":0,"hidden":4096,"kv_width":0,"latent_layers":0,"layers":32,'
        b'"query_width":0,"sparse_layers":0,"state_bytes":0,"total_bytes":5000000000,"window":0,'
        b'"window_query_width":0,"window_width":0}'
    )


FRACTIONS = st.floats(0.0, 1e15)
COUNTS = st.integers(0, 1 << 53)
# The compiled model says only `type` of a field that may be None.
MAY_BE_NONE = {"offloaded_share": st.none() | st.floats(0.0, 1.0)}
DRAWN: dict[object, st.SearchStrategy[Any]] = {
    int: COUNTS, float: FRACTIONS, bool: st.booleans(), str: TEXTS,
}  # fmt: skip


def any_of(kind: type[Run] | type[Work]) -> st.SearchStrategy[Any]:
    """A struct of the speed model with every field but the flags drawn."""
    named = [one for one in fields(kind) if one.name != "flags"]
    drawn = {one.name: DRAWN[one.type] for one in named if one.name not in MAY_BE_NONE}
    either = {one.name: MAY_BE_NONE[one.name] for one in named if one.name in MAY_BE_NONE}
    return st.builds(kind, **drawn, **either)


@given(run=any_of(Run), work=any_of(Work))
def test_no_field_of_the_speed_model_is_lost_on_its_way(run: Run, work: Work) -> None:
    """But flags, which follow from the weights. A new field fails here until it is mapped."""
    again = run_of(encode(run_fact(run)), "")
    assert again is not None
    for one in fields(Run):
        if one.name != "flags":
            assert getattr(again, one.name) == getattr(run, one.name)
    assert work_of(encode(work_fact(work))) == work


@pytest.mark.parametrize("part", ["run", "work"])
def test_facts_of_another_version_teach_nothing(part: str) -> None:
    known: Any = knowledge(RUN, WORK)
    first, second = (learned_from(after(**{part: known[part] | {"v": v}})) for v in (1, 2))
    assert len(first["d"]) == 1
    assert second == {}


# The page


def test_the_page_of_events_is_the_one_the_structs_make() -> None:
    assert PAGE.read_text() == page(), "scripts/events-doc writes it anew"


@pytest.mark.parametrize("kind", [*FORMS, *INSIDE, *EXACT])
def test_each_field_says_what_it_means(kind: type[Fact]) -> None:
    assert kind.__doc__
    for one in msgspec.structs.fields(kind):
        assert marks(one.type)["meaning"], one.name
        assert f"| `{one.encode_name}` |" in PAGE.read_text()
