"""A ledger's folded state in the ledger's own terms, so that two programs can be compared.

The keys written here are fixed for good: they are the names of signed facts, or plain words for
what follows from them. The attributes on the right are today's; whoever renames a class, a module
or a field mends the right side and touches no key, and the kept files must still compare equal.
"""

import hashlib
import json
from typing import Any

from mathcore.device import DeviceSpec
from mathcore.price import Rate
from mathcore.speed.learning import Observation
from mathcore.speed.terms import Run
from mathcore.speed.work import Work
from mesh.state.answers import bills, ended_jobs, job_counts
from mesh.state.billing import Bill
from mesh.state.fleet import DeviceView, host, rate, spec
from mesh.state.jobs import JobView
from mesh.state.learning.learned import learned_from
from mesh.state.learning.observations import Observed, observations
from mesh.state.members import Members, PeerView
from mesh.state.state import State
from mesh.state.trust.verdicts import FOREVER, Grant

Terms = dict[str, Any]


def described(state: State) -> Terms:
    """Everything a state says, as JSON values."""
    return {
        "counts": {
            "events": state.event_count,
            "notes": state.note_count,
            "types of a newer peer": state.skipped_count,
            "not believed": state.untrusted_count,
            "last_ms": state.last_ms,
        },
        "devices": {key: device(view) for key, view in sorted(state.devices.items())},
        "device models": {one: state.device_model(one) for one in sorted(state.claims.claims)},
        "device founders": {one: state.owner(one) for one in sorted(state.claims.claims)},
        "jobs": {key: job(view) for key, view in sorted(state.jobs.items())},
        "jobs by end": [one.job_id for one in ended_jobs(state)],
        "retired jobs": {
            job: status
            for home in state.retired.homes.values()
            for job, status in home.plain.items()
        },
        "jobs by status": dict(sorted(job_counts(state).items())),
        "members": members(state.members),
        "bills": [one_bill(found) for found in bills(state)],
        "observed": [observed(found) for found in observations(state)],
        "learned": learned(state),
    }


def learned(state: State) -> Terms:
    """What the planner learns of each device."""
    return {
        key: [observation(one) for one in found]
        for key, found in sorted(learned_from(state).items())
    }


def canonical(value: object) -> str:
    """One text for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: object) -> str:
    """SHA-256 of the canonical text."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def device(view: DeviceView) -> Terms:
    """A device by the facts of its registration, and what the planner makes of them."""
    facts = view.facts
    return {
        "device_id": view.device_id,
        "name": view.name,
        "owner": view.owner,
        "seen_ms": view.seen_ms,
        "described by hand": view.hand_described,
        "count": facts.count or 1,
        "kind": facts.kind,
        "model": facts.model,
        "memory_bytes": facts.memory_bytes,
        "free_bytes": facts.free_bytes,
        "free_basis": facts.free_basis,
        "location": facts.location,
        "transport": facts.transport,
        "provider": facts.provider,
        "engines": list(facts.engines),
        "host": host(view),
        "hour": price(rate(view)),
        "planned": planned(spec(view)),
        "payload": view.payload,
    }


def price(found: Rate) -> Terms:
    """What an hour costs, by its parts."""
    return {
        "price_nusd": found.price_nusd or 0,
        "resale_nusd": found.resale_nusd,
        "lifetime_months": found.lifetime_months,
        "tariff_nusd_per_kwh": found.tariff_nusd_per_kwh,
        "watts": found.watts or 0,
        "hourly_nusd": found.hourly_nusd,
        "basis": found.basis,
        "source": found.source,
    }


def planned(found: DeviceSpec) -> Terms:
    """A device as the planner sees it."""
    return {
        "device_id": found.device_id,
        "name": found.name,
        "kind": found.kind,
        "model": found.model,
        "count": found.count,
        "memory_bytes": found.memory_bytes,
        "free_bytes": found.free_bytes,
        "free_basis": found.free_basis,
        "bandwidth_bytes_per_s": found.bandwidth_bytes_per_s,
        "bandwidth_basis": found.bandwidth_basis,
        "flops": found.flops,
        "watts": found.watts,
        "engines": list(found.engines),
        "location": found.location,
        "provider": found.provider,
        "ram_free_bytes": found.ram_free_bytes,
        "ram_bandwidth_bytes_per_s": found.ram_bandwidth_bytes_per_s,
        "hour": price(found.rate),
        "host": found.host,
        "network_bps": found.network_bps,
        "wait_ms": found.wait_ms,
    }


def job(view: JobView) -> Terms:
    """A job by the facts of its events."""
    return {
        "job_id": view.job_id,
        "kind": view.kind,
        "home": view.home,
        "status": view.status,
        "owner": view.owner,
        "device_id": view.device_id,
        "model": view.model,
        "command": list(view.command),
        "batch": view.batch,
        "submitted_ms": view.submitted_ms,
        "dispatched_ms": view.dispatched_ms,
        "started_ms": view.started_ms,
        "ended_ms": view.ended_ms,
        "reason": view.reason,
        "text": view.text,
        "tokens_generated": view.tokens_generated,
        "prompt_tokens": view.prompt_tokens,
        "throughput_mtps": view.throughput_mtps,
        "prefill_mtps": view.prefill_mtps,
        "actual_duration_ms": view.duration_ms,
        "actual_cost_nusd": view.cost_nusd,
        "peak_memory_bytes": view.peak_memory_bytes,
        "exit_code": view.exit_code,
        "engine_memory": view.engine_memory,
        "request": view.request,
        "plan": view.plan,
    }


def members(found: Members) -> Terms:
    """Who belongs to the fleet, and every grant that counts."""
    return {
        "root": found.root,
        "alone": found.alone,
        "admins": sorted(found.heard),
        "seen": {one: found.seen(one) for one in sorted(found.chains.branches)},
        "peers": [peer(found, one) for one in found.peers()],
        "grants": {
            author: [grant(one) for one in sorted(given, key=lambda one: one.statement.key)]
            for author, given in sorted(found.judge().grants.items())
        },
    }


def peer(members: Members, found: PeerView) -> Terms:
    """One peer that was ever let in."""
    given = members.judge().grants[found.author]
    return {
        "key": found.author,
        "name": found.name,
        "role": found.role,
        "epoch": max(one.statement.epoch for one in given),
        "tls": found.tls,
        "added_ms": found.added_ms,
        "added_by": found.added_by,
        "addresses": list(found.addresses),
    }


def grant(found: Grant) -> Terms:
    """One grant and where it ends."""
    one = found.statement
    return {
        "since": one.after + 1,
        "until": min((number for number, _ in found.cuts), default=FOREVER),
        "role": one.role,
        "epoch": one.epoch,
        "by": one.author,
        "at_ms": one.key[0],
    }


def one_bill(found: Bill) -> Terms:
    """What one job, or the retired jobs of a day, cost."""
    return {
        "job_id": found.job_id,
        "device_id": found.device_id,
        "device model": found.device_model,
        "model": found.model,
        "ended_ms": found.ended_ms,
        "duration_ms": found.duration_ms,
        "cost_nusd": found.cost_nusd,
        "tokens": found.tokens,
        "jobs": found.jobs,
    }


def observed(found: Observed) -> Terms:
    """One finished model job: predicted and measured."""
    return {
        "job_id": found.job_id,
        "device_id": found.device_id,
        "device model": found.device_model,
        "engine": found.engine,
        "quant": found.quant,
        "model": found.model,
        "model's own name": found.model_name,
        "batch": found.batch,
        "prompt_tokens": found.prompt_tokens,
        "tokens": found.tokens,
        "ended_ms": found.ended_ms,
        "decode_mtps": found.decode_mtps,
        "prefill_mtps": found.prefill_mtps,
        "duration_ms": found.duration_ms,
        "cost_nusd": found.cost_nusd,
        "peak_memory_bytes": found.peak_memory_bytes,
        "predicted decode_mtps": list(found.predicted_decode_mtps),
        "predicted prefill_mtps": list(found.predicted_prefill_mtps),
        "predicted duration_ms": list(found.predicted_duration_ms),
        "predicted cost_nusd": list(found.predicted_cost_nusd),
        "predicted bytes": found.predicted_bytes,
        "basis": found.basis,
        "run": found.run,
        "work": found.work,
    }


def observation(found: Observation) -> Terms:
    """One job as the speed model learns it."""
    return {
        "device": found.device,
        "key": found.key,
        "step_s": found.step_s,
        "first_s": found.first_s,
        "run": run(found.run),
        "work": work(found.work),
    }


def run(found: Run) -> Terms:
    """How a model was run, by the names that are signed."""
    return {
        "engine": found.engine,
        "devices": found.devices,
        "split": found.split,
        "batch": found.batch,
        "prompt": found.prompt,
        "generated": found.generated,
        "depth": found.depth,
        "bits": found.bits,
        "kv_scale": found.kv_scale,
        "replicas": found.replicas,
        "mixed": found.mixed,
        "away": -1.0 if found.offloaded_share is None else found.offloaded_share,
        "ram_bandwidth": found.ram_bandwidth,
        "flags": list(found.flags),
    }


def work(found: Work) -> Terms:
    """What one token costs, by the names that are signed."""
    return {
        "layers": found.layers,
        "hidden": found.hidden,
        "total_bytes": found.total_bytes,
        "dense_bytes": found.dense_bytes,
        "active": found.active,
        "expert_bytes": found.expert_bytes,
        "experts": found.experts,
        "experts_used": found.experts_used,
        "sparse_layers": found.sparse_layers,
        "latent_layers": found.latent_layers,
        "kv_width": found.kv_width,
        "window_width": found.window_width,
        "window": found.window,
        "state_bytes": found.state_bytes,
        "query_width": found.query_width,
        "window_query_width": found.window_query_width,
        "basis": found.basis,
    }
