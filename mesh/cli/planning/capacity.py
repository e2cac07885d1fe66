"""`fleet capacity`: the most a device can do with a model."""

from typing import TYPE_CHECKING, Any

import click

from mesh.cli.exits import NOTHING_FITS, USAGE, stop
from mesh.cli.options import hardware_options
from mesh.cli.output import NONE, clean, emit_json, json_option
from mesh.cli.planning.plan import model_ref

if TYPE_CHECKING:
    from mathcore.planner.capacity import Capacity


@click.command()
@click.argument("model")
@click.option(
    "-b",
    "--batch",
    type=click.IntRange(1, 65_536),
    default=1,
    show_default=True,
    help="sequences at once",
)
@click.option(
    "-c",
    "--context",
    type=click.IntRange(1, 100_000_000),
    default=4096,
    show_default=True,
    help="tokens per sequence",
)
@click.option("--quant", metavar="TYPE", help="weights as  [default: the best that fits]")
@click.option("--kv-type", default="f16", show_default=True, metavar="TYPE", help="cache as")
@click.option("--device", multiple=True, metavar="NAME", help="only this device; repeatable")
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
    from mathcore.quant.quality import quality_of
    from mesh.cli.planning.models import tokens
    from mesh.cli.planning.plan_view import aligned, gib

    lines = [
        [
            "DEVICE",
            "FREE",
            "WEIGHTS",
            "QUALITY",
            f"CONTEXT x {batch}",
            f"SEQUENCES x {tokens(context)}",
            "BEST",
            "IN RAM",
        ]
    ]
    for answer in found:
        device = answer.device
        cards = f"{device.count} x " if device.count > 1 else ""
        lines.append(
            [
                clean(device.name),
                f"{cards}{gib(device.free_bytes)} GiB",
                answer.quant,
                f"{quality_of(answer.quant):.3f}",
                str(answer.context or NONE),
                str(answer.sequences or NONE),
                answer.best_quant or NONE,
                _beside(answer),
            ]
        )
    named = any(answer.quant != answer.best_quant for answer in found)
    shown = [i for i, head in enumerate(lines[0]) if named or head != "BEST"]
    right = [head in ("FREE", "QUALITY") or " x " in head for head in lines[0]]
    for line in aligned([[line[i] for i in shown] for line in lines], [right[i] for i in shown]):
        click.echo(line)


def _beside(answer: "Capacity") -> str:
    """What must stay in the host's memory for the batch and context asked about."""
    if answer.gpu_layers == answer.layers:
        return "nothing"
    if answer.device.kind != "gpu" or not answer.device.ram_free_bytes:
        return "does not fit"
    words = []
    if answer.cpu_experts > 0:
        words.append(f"experts of {answer.cpu_experts} layers")
    if answer.gpu_layers >= 0:
        words.append(f"all but {answer.gpu_layers} of {answer.layers} layers")
    return " or ".join(words) or "does not fit"
