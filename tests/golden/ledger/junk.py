"""Stories in which one field of one event is something no honest program writes there.

Other peers may sign anything, so what a fold makes of junk is part of the format: two peers with
different programs must agree on it. junk.json keeps what the old code made of each story.
"""

from collections.abc import Iterator

from mesh.ledger.event import Event, order_key
from mesh.state.fold import fold_all
from mesh.state.members import Members
from mesh.state.state import State

ANA, BEN = "a" * 64, "b" * 64
Payload = dict[str, object]
Story = list[Event]

JUNK: dict[str, object] = {
    "missing": ...,
    "null": None,
    "true": True,
    "zero": 0,
    "below zero": -1,
    "seven": 7,
    "largest": 2**53 - 1,
    "empty text": "",
    "text": "wörds",
    "digits": "7",
    "empty list": [],
    "mixed list": ["a", 1, None, ["b"], {"c": True}],
    "empty object": {},
    "object": {"p50": "x", "total_bytes": [], "load": True, "layers": "many", "bits": "nan"},
}

DEVICE: Payload = {
    "name": "box", "kind": "gpu", "model": "RTX 4090", "count": 2, "memory_bytes": 25 * 10**9,
    "free_bytes": 24 * 10**9, "free_basis": "measured", "bandwidth_bytes_per_s": 10**12,
    "bandwidth_basis": "catalogue", "flops": 165 * 10**12, "flops_basis": "measured", "watts": 450,
    "engines": ["llama.cpp"], "location": "local", "transport": "agent", "provider": "local",
    "cores": 16, "disk_free_bytes": 10**12, "network": "10Gbit/s", "network_bps": 10**10,
    "host": "h", "ram_bytes": 64 * 10**9, "ram_free_bytes": 60 * 10**9,
    "ram_bandwidth_bytes_per_s": 60 * 10**9, "price_nusd": 10**12, "resale_nusd": 10**11,
    "hourly_nusd": 0, "lifetime_months": 48, "tariff_nusd_per_kwh": 3 * 10**8,
    "described_by": "probe", "os": "Linux", "hostname": "box",
}  # fmt: skip
BAND: Payload = {"p10": 10, "p50": 20, "p90": 30}
RUN: Payload = {
    "engine": "llama.cpp", "devices": 1, "split": "layer", "batch": 2, "prompt": 512,
    "generated": 128, "depth": "576.0", "bits": "4.9", "kv_scale": "1.0", "replicas": 1,
    "mixed": False, "away": "0.0", "ram_bandwidth": "6.1e10",
}  # fmt: skip
WORK: Payload = {
    "layers": 32, "hidden": 4096, "total_bytes": 5 * 10**9, "dense_bytes": 5 * 10**9,
    "active": 8 * 10**9, "expert_bytes": 1, "experts": 8, "experts_used": 2, "sparse_layers": 3,
    "latent_layers": 4, "kv_width": 5, "window_width": 6, "window": 7, "state_bytes": 8,
    "query_width": 9, "window_query_width": 10, "basis": "tensors",
}  # fmt: skip
PLAN: Payload = {
    "device": "box", "engine": "llama.cpp", "quant": "Q4_K_M", "kv_type": "f16", "cards": 1,
    "footprint": {"total_bytes": 6 * 10**9, "host_bytes": 10**9}, "tokens_per_s_milli": BAND,
    "prefill_tokens_per_s_milli": BAND, "duration_ms": BAND, "cost_nusd": BAND,
    "basis": "prior", "terms_ms": {"load": 3}, "run": RUN, "work": WORK, "model": "Llama",
}  # fmt: skip
SUBMITTED: Payload = {
    "job_id": "j", "kind": "model", "prompt": "hi", "model": "m", "command": ["a", "b"],
    "batch": 2, "tokens": 128, "context": 4096, "cwd": "/", "objective": "fastest",
}  # fmt: skip
DISPATCHED: Payload = {
    "job_id": "j", "attempt": 1, "considered": 3, "model": "m", "owner": BEN, "plan": PLAN,
    "config": {"batch_size": 2},
}  # fmt: skip
STARTED: Payload = {"job_id": "j", "attempt": 1, "pid": 3, "model": "m", "batch_size": 2,
                    "estimated_duration_s": 9}  # fmt: skip
ENDED: Payload = {
    "job_id": "j", "attempt": 1, "actual_duration_ms": 4000, "actual_duration_s": "4.000",
    "actual_cost_nusd": 77, "actual_cost": "0.000000077", "cost_basis": "estimated",
    "peak_memory_bytes": 123, "exit_code": 3, "reason": "oom", "text": "why",
    "tokens_generated": 256, "prompt_tokens": 1024, "throughput_mtps": 100_000,
    "prefill_mtps": 2_000_000, "engine_memory": {"kv_bytes": 1},
}  # fmt: skip
GRANT: Payload = {"key": BEN, "name": "ben", "role": "runner", "tls": "0f" * 64, "epoch": 2,
                  "since": 1}  # fmt: skip
REMOVAL: Payload = {"key": BEN, "name": "gone", "epoch": 2, "until": 1, "until_hash": "",
                    "reason": "left"}  # fmt: skip


def event(author: str, seq: int, kind: str, payload: Payload, device: str = "d") -> Event:
    """An unsigned event, one second after the last."""
    return Event(
        id=f"{author[:2]}{seq}{kind}", hash=f"{author[:8]}{seq:056x}", timestamp="",
        device_id=device, event_type=kind,
        payload=payload, author=author, seq=seq, prev=f"{author[:8]}{seq - 1:056x}",
        hlc=f"{1_790_000_000_000 + 1000 * seq:013d}-00000", sig="", v=1,
    )  # fmt: skip


def folded(story: Story) -> State:
    """The state after a story, membership learned first, in a fleet whose root is ANA."""
    fleet = any(one.event_type == "peer_added" for one in story)
    return fold_all(sorted(story, key=order_key), Members(root=ANA if fleet else ""))


def job(**changed: Payload) -> Story:
    """A finished model job; `changed` replaces whole payloads by the last word of their type."""
    steps = {"submitted": SUBMITTED, "dispatched": DISPATCHED, "started": STARTED} | changed
    story = [event(ANA, 1, "device_registered", DEVICE)]
    ends = {"completed", "failed", "cancelled"} & set(steps)
    if not ends:
        steps["completed"] = ENDED
    return story + [event(ANA, 2 + i, f"job_{kind}", payload)
                    for i, (kind, payload) in enumerate(steps.items())]  # fmt: skip


def peers(**changed: Payload) -> Story:
    """A fleet of two in which the second one speaks, is called something, and is put out."""
    said = {"added": GRANT, "renamed": {"key": BEN, "name": "bench"},
            "removed": REMOVAL, "reachable": {"addresses": ["10.0.0.7:1"]}} | changed  # fmt: skip
    root = {"key": ANA, "name": "ana", "role": "admin", "tls": "", "epoch": 1, "since": 1}
    story = [event(ANA, 1, "peer_added", root), event(ANA, 2, "peer_added", said["added"])]
    story.append(event(BEN, 1, "note_added", {"text": "early"}))
    story.append(event(ANA, 3, "peer_renamed", said["renamed"]))
    story.append(event(BEN, 2, "peer_reachable", said["reachable"]))
    story.append(event(BEN, 3, "note_added", {"text": "late"}))
    return [*story, event(ANA, 4, "peer_removed", said["removed"])]


def spoilt(payload: Payload) -> Iterator[tuple[str, Payload]]:
    """(what was done, payload) for each field and each kind of junk."""
    for field in payload:
        for name, value in JUNK.items():
            rest = {key: old for key, old in payload.items() if key != field}
            yield f"{field} {name}", rest if value is ... else rest | {field: value}


def cases() -> Iterator[tuple[str, Story]]:
    """(name, story) of every case, in a fixed order."""
    for what, payload in spoilt(DEVICE):
        yield f"device_registered {what}", [event(ANA, 1, "device_registered", payload)]
        if what.startswith(("host ", "described_by ")):
            hand = payload | ({} if "described_by" in what else {"described_by": "hand"})
            yield f"device_registered by hand {what}", [event(ANA, 1, "device_registered", hand)]
    for what, payload in spoilt(SUBMITTED):
        yield f"job_submitted {what}", job(submitted=payload)
    for what, payload in spoilt(DISPATCHED):
        yield f"job_dispatched {what}", job(dispatched=payload)
    for what, plan in spoilt(PLAN):
        yield f"plan {what}", job(dispatched=DISPATCHED | {"plan": plan})
    for part, payload in (("run", RUN), ("work", WORK)):
        for what, facts in spoilt(payload):
            yield f"{part} {what}", job(dispatched=DISPATCHED | {"plan": PLAN | {part: facts}})
    for field in ("depth", "bits", "away"):
        for text in ("nan", "inf", "-2.0", "1e300", " 4.5 ", "4,5", "0x1p3", "1_0"):
            plan = PLAN | {"run": RUN | {field: text}}
            yield f"run {field} {text!r}", job(dispatched=DISPATCHED | {"plan": plan})
    flags = PLAN | {"run": RUN | {"flags": ["wide"]}}
    yield "run flags", job(dispatched=DISPATCHED | {"plan": flags})
    for kind in ("completed", "failed", "cancelled"):
        for what, payload in spoilt(ENDED):
            yield f"job_{kind} {what}", job(**{kind: payload})
    for what, payload in spoilt(STARTED):
        yield f"job_started {what}", job(started=payload)
    for kind, payload in (
        ("added", GRANT), ("removed", REMOVAL), ("renamed", {"key": BEN, "name": "bench"}),
        ("reachable", {"addresses": ["10.0.0.7:1"]}),
    ):  # fmt: skip
        for what, changed in spoilt(payload):
            yield f"peer_{kind} {what}", peers(**{kind: changed})
    for kind in ("device_removed", "note_added"):
        for name, value in JUNK.items():
            reason: Payload = {} if value is ... else {"reason": value, "text": value}
            story = [event(ANA, 1, "device_registered", DEVICE), event(ANA, 2, kind, reason)]
            yield f"{kind} {name}", story
