"""The options `plan` and `run` share, written once."""

from collections.abc import Callable
from typing import Any, Final

import click

Command = Callable[..., Any]

_OPTIONS: Final = (
    click.option("-b", "--batch", type=click.IntRange(min=1), help="sequences at once"),
    click.option("-c", "--context", type=click.IntRange(min=1), help="tokens per sequence"),
    click.option("--tokens", type=click.IntRange(min=1), help="tokens to generate per sequence"),
    click.option("--prompt-tokens", type=click.IntRange(min=1), help="tokens in the prompt"),
    click.option("--engine", help="only this engine: llama.cpp, vllm …"),
    click.option("--quant", help="weights as Q4_K_M, Q8_0, F16 …"),
    click.option("--kv-type", help="cache as f16, q8_0 …"),
    click.option("--max-latency", metavar="TIME", help="only where it ends within, e.g. 30s"),
    click.option("--on", metavar="DEVICE", help="only on this device"),
)


def plan_options(command: Command) -> Command:
    """Add the planning options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def given(options: dict[str, object]) -> dict[str, object]:
    """The options a person set; the rest keep the API's defaults."""
    return {name: value for name, value in options.items() if value is not None}
