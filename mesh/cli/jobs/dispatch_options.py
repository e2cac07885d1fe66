"""Options of a job about where it may go, its place in line, and what a silent owner means."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

CLASSES = ("critical", "high", "normal", "low", "scavenger")
RECONCILE = ("keep_original", "keep_replacement", "longest_running", "best_score")
F = TypeVar("F", bound=Callable[..., Any])


def _priority(ctx: click.Context, param: click.Parameter, value: str | None) -> int | str | None:
    """A class's name, or a number from 0 to 100."""
    text = value.lower() if value is not None else None
    if text is None or text in CLASSES:
        return text
    if text.isascii() and text.isdigit() and int(text) <= 100:
        return int(text)
    says = f"{value!r}: one of {', '.join(CLASSES)}, or 0 to 100"
    raise click.BadParameter(says, ctx, param)


def dispatch_options(command: F) -> F:
    """The options, in the order in which help shows them."""
    options = (
        click.option(
            "-p",
            "--priority",
            callback=_priority,
            metavar="CLASS|0-100",
            help=f"place in line: {', '.join(CLASSES)}",
        ),
        click.option(
            "--preemptible",
            is_flag=True,
            default=None,
            help="may be paused, or stopped and run again, for others",
        ),
        click.option(
            "--retries",
            type=click.IntRange(0, 8),
            help="attempts more after a failure not its own: a model's are 2, a command's 0",
        ),
        click.option("--key", metavar="NAME", help="count it in the budgets of this key, too"),
        click.option(
            "--on-disconnect",
            metavar="hold|replace:10m",
            help="wait for an owner that is not heard of (hold), or try elsewhere after so long",
        ),
        click.option(
            "--reconcile",
            type=click.Choice(RECONCILE),
            help="which of two attempts goes on when a replaced one is heard of again",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command
