"""A job as it is started on this peer's device: the command, or the engine its plan chose."""

import re
import sys
from typing import Final

from mathcore.hardware.names import lookup_gpu
from mesh.api.bodies import Body
from mesh.api.lines import spec_rows
from mesh.api.requests import PlanRequest, lengths
from mesh.edge.dispatch.candidates import plan_request
from mesh.edge.jobs.admission import weights_path
from mesh.state.fleet import DeviceView
from mesh.state.jobs import AttemptView, JobView
from providers.base import Launch
from providers.engine import llamacpp
from providers.engine.setup import ALL_LAYERS, Setup, Task, Vendor, launch, safe_name

LLAMACPP: Final = "llama.cpp"  # what a job without a plan runs by
# A device of a probed machine ends in its card's number; what ends otherwise is its first.
CARD: Final = re.compile(r"-gpu(\d{1,3})$")
# Makers by the architectures of their cards, as mathcore.hardware has them.
AMD: Final = ("cdna", "rdna", "gcn", "polaris")
INTEL: Final = ("xe", "gaudi")


def launch_of(
    job: JobView, one: AttemptView, body: Body, device: DeviceView, work: str = ""
) -> Launch:
    """How to start the attempt; the runner keeps it beside the request, as private.

    `work`: where the job's own files were laid out, if it brought any.
    """
    if job.kind == "command":
        return _command(job, one, body, work)
    plan, request = job.predicted, plan_request(job, body.model)
    plain = job.kind == "model" and not body.lines and (plan.engine or LLAMACPP) == LLAMACPP
    here = device.facts.transport != "ssh"  # a host gets the supervisor, whatever its engine
    if plain and here and vendor_of(device) in ("", "apple"):
        return _in_process(job, one, body, request)
    return _by_server(job, one, body, request, device)


def _command(job: JobView, one: AttemptView, body: Body, work: str) -> Launch:
    own = {
        "FLEET_JOB_ID": job.job_id,
        "FLEET_ATTEMPT": str(one.number),
        "FLEET_FENCE": str(one.fence),
    }
    return Launch(
        job_id=job.job_id,
        attempt=one.number,
        kind="command",
        argv=body.command,
        env={**body.env, **own},
        spec={"cwd": work or body.cwd},
    )


def _in_process(job: JobView, one: AttemptView, body: Body, request: PlanRequest) -> Launch:
    """A single prompt on a processor or a Mac: llama.cpp inside a program of ours."""
    prompt_tokens, tokens = lengths(request.prompt_tokens, request.tokens, request.context)
    return llamacpp.launch(
        job_id=job.job_id,
        attempt=one.number,
        python=sys.executable,
        model_path=weights_path(request.model),
        tokens=tokens,
        context=request.context,
        batch=request.batch,
        prompt=body.prompt,
        prompt_tokens=prompt_tokens,
        kv_type=job.predicted.kv_type or request.kv_type or "f16",
        ignore_eos=request.tokens is not None,
    )


def _by_server(
    job: JobView, one: AttemptView, body: Body, request: PlanRequest, device: DeviceView
) -> Launch:
    """An engine's own server, held by a supervisor of ours."""
    prompt_tokens, tokens = lengths(request.prompt_tokens, request.tokens, request.context)
    task: Task = "serve" if job.kind == "server" else "lines" if body.lines else "prompt"
    work: dict[str, object] = {"tokens": tokens}
    if task == "lines":
        work["lines"] = spec_rows(body.lines)
    elif task == "prompt":
        work |= {"prompt": body.prompt, "prompt_tokens": prompt_tokens}
        work["ignore_eos"] = request.tokens is not None
    return launch(
        setup_for(job, request, device),
        job_id=job.job_id,
        attempt=one.number,
        python=sys.executable,
        task=task,
        work=work,
    )


def setup_for(job: JobView, request: PlanRequest, device: DeviceView) -> Setup:
    """The engine as the plan has it; where there is no plan, as it was asked for."""
    plan = job.predicted
    engine = plan.engine or request.engine or LLAMACPP
    split = plan.run.get("split") if isinstance(plan.run, dict) else None
    return Setup(
        engine=engine,
        model_path=weights_path(request.model, engine),
        name=safe_name(job.model),
        context=request.context,
        parallel=request.batch,
        kv_type=plan.kv_type or request.kv_type or "f16",
        quant=plan.quant,
        vendor=vendor_of(device),
        cards=cards_of(device, max(1, plan.cards)),
        split=str(split or "layer"),
        gpu_layers=plan.gpu_layers if job.plan else ALL_LAYERS,
        cpu_experts=plan.cpu_experts,
        kv_bytes=plan.footprint.kv_bytes,
        load_p90_ms=plan.load_ms.p90 if plan.load_ms else 0,
    )


def vendor_of(device: DeviceView) -> Vendor:
    """Whose runtime picks the device's cards; "" for a processor."""
    if device.kind in ("apple", "cpu"):
        return "apple" if device.kind == "apple" else ""
    known = lookup_gpu(device.model)
    arch = known.arch if known is not None else ""
    if arch.startswith(AMD) or "radeon" in device.model.lower():
        return "amd"
    if arch.startswith(INTEL) or "intel" in device.model.lower():
        return "intel"
    return "nvidia"


def cards_of(device: DeviceView, wanted: int) -> tuple[str, ...]:
    """Indices of the cards the plan uses: a device is one card, or the first of several."""
    if device.kind != "gpu":
        return ()
    found = CARD.search(device.device_id)
    if found is not None and (device.facts.count or 1) == 1:
        return (found[1],)
    return tuple(str(index) for index in range(min(wanted, device.facts.count or 1)))
