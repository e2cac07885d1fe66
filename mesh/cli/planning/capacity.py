"""`fleet capacity`: the most a device can do with a model."""

from typing import TYPE_CHECKING, Any

import click

from mesh.cli.exits import NOTHING_FITS, stop
from mesh.cli.options import (
    BATCH_NAMES,
    CACHE_NAMES,
    CONTEXT_NAMES,
    SEQUENCES,
    TOKENS,
    Renamed,
    hardware_options,
    on_option,
    server_options,
)
from mesh.cli.output import emit_json, gib, json_option
from mesh.cli.planning.plan import model_ref
from mesh.cli.table import Column, emit, emit_text

if TYPE_CHECKING:
    from mathcore.planner.capacity import Capacity


@click.command()
@click.argument("model")
@click.option(
    "-b",
    "--batch",
    "batch",
    cls=Renamed,
    old=BATCH_NAMES,
    type=SEQUENCES,
    default=1,
    show_default=True,
    help="sequences at once",
)
@click.option(
    "-c",
    "--context",
    "context",
    cls=Renamed,
    old=CONTEXT_NAMES,
    type=TOKENS,
    default=4096,
    show_default="4k",
    help="tokens per sequence: 8192 or 8k",
)
@click.option("--quant", metavar="TYPE", help="weights as  [default: the best that fits]")
@click.option(
    "--kv-type",
    "kv_type",
    cls=Renamed,
    old=CACHE_NAMES,
    default="f16",
    show_default=True,
    metavar="TYPE",
    help="cache as",
)
@click.option(
    "--engine",
    metavar="NAME",
    help="llama.cpp, mlx, ollama, vllm, sglang or tgi  [default: the first it runs]",
)
@click.option(
    "--smallest", is_flag=True, help="also the smallest common hardware that holds what is asked"
)
@on_option(several=True)
@hardware_options
@server_options
@json_option
def capacity(
    model: str,
    batch: int,
    context: int,
    quant: str | None,
    kv_type: str,
    engine: str | None,
    output: str,
    *,
    smallest: bool,
    **options: Any,
) -> None:
    """The longest context, most sequences, best quantisation, and layers that MODEL gets."""
    from mesh.cli.planning import capacity_served
    from mesh.cli.planning.capacity_questions import Question
    from mesh.cli.planning.sweep import hardware
    from mesh.edge.planning import source_of

    spec = source_of(model_ref(model)).spec
    asked = Question(spec, batch, context, kv_type, quant or "", engine or "", options)
    devices = hardware(options, asked.engines)
    own, served = asked.answers(devices)
    least = asked.smallest() if smallest else None
    if output == "json":
        rows = [row(answer, batch, context) for answer in own]
        rows += [capacity_served.row(answer, batch, context) for answer in served]
        emit_json([{**one, "smallest": least} for one in rows] if smallest else rows)
    else:
        if own:
            _show(own, batch, context)
        if served:
            capacity_served.show(served, batch, context)
        if smallest:
            emit_text(f"Smallest common hardware that holds it: {least or 'none'}")
    if not any([answer.context for answer in own] + [answer.context for answer in served]):
        stop(NOTHING_FITS)


def row(answer: "Capacity", batch: int, context: int) -> dict[str, object]:
    """One device's answers; null where there is none."""
    from mathcore.engines.options import build_of

    device = answer.device
    return {
        "device": device.name,
        "engine": answer.engine,
        "engine_build": build_of(answer.engine),
        "free_bytes": device.free_bytes,
        "count": device.count,
        "ram_free_bytes": device.ram_free_bytes,
        "quant": answer.quant,
        "quality": round(answer.quality, 4),
        "best_quant": answer.best_quant or None,
        "batch": batch,
        "largest_context": answer.context or None,
        "context": context,
        "most_sequences": answer.sequences or None,
        "layers": answer.layers,
        "gpu_layers": answer.gpu_layers if answer.gpu_layers >= 0 else None,
        "cpu_experts": answer.cpu_experts if answer.cpu_experts >= 0 else None,
        **_own_start(answer),
    }


def _own_start(answer: "Capacity") -> dict[str, object]:
    """What Ollama chooses where nobody does; nothing for other engines."""
    start = answer.chosen
    if start is None:
        return {}
    return {
        "engine_start": {
            "num_ctx": start.num_ctx,
            "num_parallel": start.num_parallel,
            "num_batch": start.num_batch,
        }
    }


def _show(found: "list[Capacity]", batch: int, context: int) -> None:
    emit(columns(found, batch, context), found)
    for answer in found:
        start = answer.chosen
        if start is not None:
            emit_text(
                f"{answer.device.name}: Ollama itself takes a context of {start.num_ctx}, "
                f"{start.num_parallel} at once, batches of {start.num_batch}",
                "  ",
            )


def columns(found: "list[Capacity]", batch: int, context: int) -> "tuple[Column[Capacity], ...]":
    """What each device can do with the model, the most of each kind."""
    from mesh.cli.planning.models import tokens

    named = any(answer.quant != answer.best_quant for answer in found)
    return (
        Column(title="DEVICE", value=lambda answer: answer.device.name, least=8),
        Column(title="FREE", value=_free, right=True, rank=30),
        Column(title="WEIGHTS", value=lambda answer: answer.quant),
        Column(
            title="QUALITY",
            value=lambda answer: f"{answer.quality:.3f}",
            right=True,
            rank=40,
        ),
        Column(title=f"CONTEXT x {batch}", value=lambda answer: answer.context or "", right=True),
        Column(
            title=f"SEQUENCES x {tokens(context)}",
            value=lambda answer: answer.sequences or "",
            right=True,
            rank=20,
        ),
        Column(
            title="BEST",
            value=lambda answer: answer.best_quant if named else "",
            rank=10,
            optional=True,
        ),
        Column(title="LAYERS ON IT", value=beside, least=12),
    )


def _free(answer: "Capacity") -> str:
    device = answer.device
    return f"{device.count} x {gib(device.sure_bytes)} GiB".removeprefix("1 x ")


def beside(answer: "Capacity") -> str:
    """How many layers the device holds at the batch and context asked about, the rest in RAM."""
    if answer.gpu_layers == answer.layers:
        return "all"
    if answer.device.kind != "gpu" or not answer.device.ram_free_bytes:
        return "does not fit"
    words = []
    if answer.cpu_experts > 0:
        words.append(f"all, experts of {answer.cpu_experts} in RAM")
    if answer.gpu_layers >= 0:
        words.append(f"{answer.gpu_layers} of {answer.layers}, others in RAM")
    return " or ".join(words) or "does not fit"
