"""`fleet budget`: what may be spent, by whom, and what is left of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from mesh.cli.client import need_daemon
from mesh.cli.exits import USAGE, stop
from mesh.cli.output import clean, emit_json, json_option, money
from mesh.cli.table import emit_text
from mesh.cli.verbs import Verbs

PICKS = (
    click.option(
        "--per",
        type=click.Choice(("day", "month", "total")),
        default="month",
        show_default=True,
        help="in which time",
    ),
    click.option("--user", metavar="NAME", help="of what this peer asks for"),
    click.option("--key", metavar="NAME", help="of what this key asks for"),
    click.option("--provider", metavar="NAME", help="of what is rented there"),
    click.option("--job", metavar="ID", help="of this job"),
    click.option("--tz", metavar="ZONE", help="whose days and months: Europe/Berlin  [UTC]"),
)
ALONE = "this peer alone spends of it; a part for another: fleet budget grant PEER 10"
Command = Callable[..., None]


def pick_options(command: Command) -> Command:
    """Which budget: without one of them the fleet's."""
    for option in reversed(PICKS):
        command = option(command)
    return command


@click.group(cls=Verbs, invoke_without_command=True)
@json_option
@click.pass_context
def budget(ctx: click.Context, output: str) -> None:
    """What may be spent, by whom; alone it shows every budget.

    Money is held before anything is asked for that costs, so no budget is passed, also while
    peers can't reach each other.
    """
    if ctx.invoked_subcommand is None:
        from mesh.cli.budgets.show import show_budgets

        show_budgets(output, whole=False)


@budget.command("set")
@click.argument("dollars", required=False)
@pick_options
@click.option(
    "--owned",
    type=click.Choice(("cloud", "stop", "all")),
    help="of work on own devices: cloud counts none, stop counts none but starts no more once the"
    " money is gone, all counts it  [as before, else cloud]",
)
@click.option("--lift", is_flag=True, help="limit nothing any more")
@json_option
def set_(*, dollars: str | None, lift: bool, output: str, **options: Any) -> None:
    """Let DOLLARS be spent in each day, month or in total; the fleet's, unless named.

    The peer that sets a budget owns it: others spend what it grants them.
    """
    from mesh.config import fleet_home

    if (dollars is None) != lift:
        text = "how many dollars?" if dollars is None else "a lifted budget has no dollars"
        example = "set 50 --per month" if dollars is None else "set --lift --per month"
        stop(USAGE, text, f"fleet budget {example}")
    body = _body(options) | ({"lift": True} if lift else {"amount": dollars})
    said = need_daemon(fleet_home()).post("/v1/budgets", body)
    if output == "json":
        emit_json(said)
    elif said["lifted"]:
        emit_text(f"the budget {clean(said['name'])} limits nothing any more")
    else:
        emit_text(f"the budget {clean(said['name'])} is {money(said['cap_nusd'])}")
        if said["new"] and said["others"]:
            emit_text(ALONE, err=True)
        if said.get("note"):  # a daemon of an older version has none
            emit_text(clean(said["note"]), err=True)


@budget.command()
@click.argument("peer")
@click.argument("dollars")
@pick_options
@click.option(
    "--periods", type=click.IntRange(1), default=1, help="in so many days or months, from now on"
)
@json_option
def grant(*, peer: str, dollars: str, periods: int, output: str, **options: Any) -> None:
    """Give PEER DOLLARS of a budget, to spend also while nobody reaches this peer."""
    from mesh.config import fleet_home

    body = _body(options) | {"peer": peer, "amount": dollars, "periods": periods}
    said = need_daemon(fleet_home()).post("/v1/budgets/grants", body)
    if output == "json":
        emit_json(said)
        return
    span = said["from"] if said["from"] == said["to"] else f"{said['from']} to {said['to']}"
    each = "" if said["from"] == said["to"] else "each "
    what = f"{money(said['amount_nusd'])} of the budget {clean(said['name'])}"
    emit_text(f"{clean(said['peer'])} may spend {what}, {each}{span}")


@budget.command()
@click.option("--holds", "whole", is_flag=True, help="what is held, too, each in a line")
@json_option
def show(*, whole: bool, output: str) -> None:
    """Every budget: its cap, what is spent and held, and what this peer may still spend."""
    from mesh.cli.budgets.show import show_budgets

    show_budgets(output, whole=whole)


def _body(options: dict[str, Any]) -> dict[str, object]:
    return {name: value for name, value in options.items() if value is not None}
