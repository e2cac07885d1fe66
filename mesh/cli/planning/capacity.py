"""`fleet capacity`: the most a device can do with a model."""

from typing import Any

import click

from mesh.cli.exits import NOTHING_FITS, stop
from mesh.cli.options import (
    allow_beyond_option,
    batch_option,
    beside_options,
    context_option,
    given,
    hardware_options,
    kv_type_option,
    llamacpp_options,
    on_option,
    server_options,
)
from mesh.cli.output import emit_json, json_option
from mesh.cli.planning.plan import model_ref


@click.command()
@click.argument("model")
@batch_option
@context_option
@click.option("--quant", metavar="TYPE", help="weights as  [default: the best that fits]")
@kv_type_option("cache as  [default: f16]")
@click.option(
    "--engine",
    metavar="NAME",
    help="llama.cpp, mlx, ollama, vllm, sglang or tgi  [default: the first it runs]",
)
@click.option(
    "--smallest", is_flag=True, help="also the smallest common hardware that holds what is asked"
)
@llamacpp_options
@beside_options
@on_option(several=True)
@hardware_options
@server_options
@allow_beyond_option
@json_option
def capacity(
    model: str, on: tuple[str, ...], output: str, *, smallest: bool, **options: Any
) -> None:
    """The longest context, most sequences, best quantisation, and layers that MODEL gets."""
    from mesh.api.most import parse_capacity
    from mesh.cli.planning.capacity_view import show
    from mesh.config import fleet_home
    from mesh.edge.capacity import answers_of, rows_of
    from mesh.edge.store.state import load_state

    request = parse_capacity({"model": model_ref(model), **given(options)})
    question, answers = answers_of(lambda: load_state(fleet_home()), request, on)
    least = question.smallest() if smallest else None
    if output == "json":
        rows = rows_of(question, answers)
        emit_json([{**one, "smallest": least} for one in rows] if smallest else rows)
    else:
        show(question, answers, f"{least or 'none'}" if smallest else "")
    if not any(answer.context for answer in answers):
        stop(NOTHING_FITS)
