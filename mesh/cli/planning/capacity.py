"""`fleet capacity`: the most a device can do with a model."""

from typing import TYPE_CHECKING, Any

import click

from mesh.cli.exits import NOTHING_FITS, USAGE, stop
from mesh.cli.options import SEQUENCES, TOKENS, hardware_options, on_option
from mesh.cli.output import emit_json, gib, json_option
from mesh.cli.planning.plan import model_ref
from mesh.cli.table import Column, emit

if TYPE_CHECKING:
    from mathcore.planner.capacity import Capacity


@click.command()
@click.argument("model")
@click.option(
    "-b", "--batch", type=SEQUENCES, default=1, show_default=True, help="sequences at once"
)
@click.option(
    "-c",
    "--context",
    type=TOKENS,
    default=4096,
    show_default="4k",
    help="tokens per sequence: 8192 or 8k",
)
@click.option("--quant", metavar="TYPE", help="weights as  [default: the best that fits]")
@click.option("--kv-type", default="f16", show_default=True, metavar="TYPE", help="cache as")
@on_option(several=True)
@hardware_options
@json_option
def capacity(
    model: str,
    batch: int,
    context: int,
    quant: str | None,
    kv_type: str,
    output: str,
    **options: Any,
) -> None:
    """The longest context, most sequences, best quantisation, and layers that MODEL gets."""
    from mathcore.engines.footprint import ContextShape
    from mathcore.engines.llamacpp.cache import cache_refusal
    from mathcore.planner.capacity import ENGINES
    from mesh.cli.planning.sweep import hardware
    from mesh.edge.planning import source_of

    spec = source_of(model_ref(model)).spec
    fault = cache_refusal(spec, kv_type)
    if fault:
        stop(USAGE, f"kv_type: {fault}", "fleet capacity --help")
    shape = ContextShape(context=context, sequences=batch, kv_type=kv_type)
    found = [_answer(spec, device, shape, quant) for device in hardware(options, ENGINES)]
    if output == "json":
        emit_json([row(answer, batch, context) for answer in found])
    else:
        _show(found, batch, context)
    if not any(answer.context for answer in found):
        stop(NOTHING_FITS)


def _answer(spec: Any, device: Any, shape: Any, quant: str | None) -> "Capacity":
    from mathcore.model.spec import SpecError
    from mathcore.planner.capacity import capacity

    try:
        return capacity(spec, device, shape, quant or "")
    except SpecError as error:
        stop(USAGE, f"{error.field}: {error.text}", "fleet capacity --help")


def row(answer: "Capacity", batch: int, context: int) -> dict[str, object]:
    """One device's answers; null where there is none."""
    from mathcore.quant.quality import quality_of

    device = answer.device
    return {
        "device": device.name,
        "engine": answer.engine,
        "free_bytes": device.free_bytes,
        "count": device.count,
        "ram_free_bytes": device.ram_free_bytes,
        "quant": answer.quant,
        "quality": round(quality_of(answer.quant), 4),
        "best_quant": answer.best_quant or None,
        "batch": batch,
        "largest_context": answer.context or None,
        "context": context,
        "most_sequences": answer.sequences or None,
        "layers": answer.layers,
        "gpu_layers": answer.gpu_layers if answer.gpu_layers >= 0 else None,
        "cpu_experts": answer.cpu_experts if answer.cpu_experts >= 0 else None,
    }


def _show(found: "list[Capacity]", batch: int, context: int) -> None:
    emit(columns(found, batch, context), found)


def columns(found: "list[Capacity]", batch: int, context: int) -> "tuple[Column[Capacity], ...]":
    """What each device can do with the model, the most of each kind."""
    from mathcore.quant.quality import quality_of
    from mesh.cli.planning.models import tokens

    named = any(answer.quant != answer.best_quant for answer in found)
    return (
        Column(title="DEVICE", value=lambda answer: answer.device.name, least=8),
        Column(title="FREE", value=_free, right=True, rank=30),
        Column(title="WEIGHTS", value=lambda answer: answer.quant),
        Column(
            title="QUALITY",
            value=lambda answer: f"{quality_of(answer.quant):.3f}",
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
