"""A job as it is started on this peer's device: the command, or the engine its plan chose."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mesh.api.bodies import Body
from mesh.api.lines import spec_rows
from mesh.api.requests import PlanRequest, lengths
from mesh.edge.dispatch.candidates import plan_request
from mesh.edge.jobs.admission import weights_path
from mesh.edge.jobs.cards import cards_of, gang_of, vendor_of
from mesh.state.fleet import DeviceView
from mesh.state.jobs import SERVER, AttemptView, JobView
from providers.base import Launch
from providers.engine import llamacpp
from providers.engine.setup import ALL_LAYERS, Setup, Task, launch, safe_name
from providers.sources.gguf import is_for_vectors

# A card reads a thousand tokens a second and more, and 512 at a time anyway, so that nothing is
# slower; of a processor, which reads some hundred, 256 take a second (measured: serving.md).
CARD_PASS: Final = 512
PROCESSOR_PASS: Final = 256
LLAMACPP: Final = "llama.cpp"  # what a job without a plan runs by


def launch_of(
    job: JobView, one: AttemptView, body: Body, devices: Sequence[DeviceView], work: str = ""
) -> Launch:
    """How to start the attempt; the runner keeps it beside the request, as private.

    `devices`: all it has, the event's first. `work`: where the job's own files were laid out, if it
    brought any. RequestError where its plan does not say what each device gives.
    """
    if job.kind == "command":
        return _command(job, one, body, work)
    plan, request = job.predicted, plan_request(job, body.model)
    plain = job.kind == "model" and not body.lines and (plan.engine or LLAMACPP) == LLAMACPP
    here = devices[0].facts.transport != "ssh"  # a host gets the supervisor, whatever its engine
    if plain and here and len(devices) == 1 and vendor_of(devices[0]) in ("", "apple"):
        return _in_process(job, one, body, request)
    return _by_server(job, one, body, request, devices)


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
    job: JobView,
    one: AttemptView,
    body: Body,
    request: PlanRequest,
    devices: Sequence[DeviceView],
) -> Launch:
    """An engine's own server, held by a supervisor of ours."""
    prompt_tokens, tokens = lengths(request.prompt_tokens, request.tokens, request.context)
    task: Task = "serve" if job.kind == SERVER else "lines" if body.lines else "prompt"
    work: dict[str, object] = {"tokens": tokens}
    if task == "lines":
        work["lines"] = spec_rows(body.lines)
    elif task == "prompt":
        work |= {"prompt": body.prompt, "prompt_tokens": prompt_tokens}
        work["ignore_eos"] = request.tokens is not None
    return launch(
        setup_for(job, request, devices),
        job_id=job.job_id,
        attempt=one.number,
        python=sys.executable,
        task=task,
        work=work,
    )


def _passes(vendor: str) -> int:
    """A server notices that a client left its prompt after so many tokens: within a second."""
    return CARD_PASS if vendor else PROCESSOR_PASS


def setup_for(job: JobView, request: PlanRequest, devices: Sequence[DeviceView]) -> Setup:
    """The engine as the plan has it; where there is no plan, as it was asked for."""
    plan, device = job.predicted, devices[0]
    gang = gang_of(plan, devices) if len(devices) > 1 else None
    engine = plan.engine or request.engine or LLAMACPP
    split = plan.run.get("split") if isinstance(plan.run, dict) else None
    path = weights_path(request.model, engine)
    return Setup(
        engine=engine,
        model_path=path,
        name=safe_name(job.model),
        context=request.context,
        parallel=request.batch,
        kv_type=plan.kv_type or request.kv_type or "f16",
        quant=plan.quant,
        vendor=vendor_of(device),
        cards=gang.cards if gang else cards_of(device, max(1, plan.cards)),
        split=str(split or "layer"),
        tensor_split=gang.layers if gang else (),
        stages=gang.stages if gang else 0,
        gpu_layers=plan.gpu_layers if job.plan else ALL_LAYERS,
        cpu_experts=plan.cpu_experts,
        kv_bytes=plan.footprint.kv_bytes,
        load_p90_ms=plan.load_ms.p90 if plan.load_ms else 0,
        passes=_passes(vendor_of(device)) if job.kind == SERVER else 0,
        embeddings=engine == LLAMACPP and is_for_vectors(Path(path)),
    )
