"""The options commands share, written once: how a model runs, within what, and on what."""

from collections.abc import Callable
from typing import Any, Final

import click

Command = Callable[..., Any]

OBJECTIVES: Final = ("cheapest", "fastest", "balanced")

_SHAPE: Final = (
    click.option("-b", "--batch", type=click.IntRange(min=1), help="sequences at once"),
    click.option("-c", "--context", type=click.IntRange(min=1), help="tokens per sequence"),
    click.option("--tokens", type=click.IntRange(min=1), help="tokens to generate per sequence"),
    click.option("--prompt-tokens", type=click.IntRange(min=1), help="tokens in the prompt"),
    click.option("--engine", metavar="NAME", help="only this engine: llama.cpp, vllm …"),
    click.option("--quant", metavar="TYPE", help="weights as Q4_K_M, Q8_0, F16 …"),
    click.option("--kv-type", metavar="TYPE", help="cache as f16, q8_0 …; auto tries 8 bits too"),
)
_LIMITS: Final = (
    click.option("--max-latency", metavar="TIME", help="answers within, loading aside: 30s, 5m"),
    click.option("--ttft", metavar="TIME", help="first token within: 500ms, 2s"),
    click.option("--min-tps", metavar="N", help="tokens a second of each sequence, at least"),
    click.option("--deadline", metavar="TIME", help="ends within, waiting and loading included"),
    click.option("--max-price", metavar="$", help="dollars an hour, at most: 0.50"),
    click.option("--max-cost", metavar="$", help="dollars altogether, at most: 0.01"),
    click.option("--min-quality", metavar="Q", help="0 to 1, where 1 is the 16-bit model: 0.97"),
    click.option("--objective", type=click.Choice(OBJECTIVES), help="what the best one is"),
    click.option("--on", metavar="DEVICE", help="only on this device"),
)
_INSTEAD: Final = (
    click.option(
        "--what-if",
        multiple=True,
        metavar="HARDWARE",
        help='plan for this instead of the fleet, e.g. "RTX 5090 x2"; repeatable',
    ),
    click.option(
        "--fleet",
        "fleet_file",
        metavar="FILE",
        help="plan for the devices a JSON or TOML file lists, instead of the fleet's",
    ),
)


def _with(command: Command, *groups: tuple[Callable[[Command], Command], ...]) -> Command:
    for group in reversed(groups):
        for option in reversed(group):
            command = option(command)
    return command


def plan_options(command: Command) -> Command:
    """How the model runs and what an answer must keep to; `plan` and `run` take the same."""
    return _with(command, _SHAPE, _LIMITS)


def hardware_options(command: Command) -> Command:
    """Hardware to ask about instead of the fleet's."""
    return _with(command, _INSTEAD)


def given(options: dict[str, object]) -> dict[str, object]:
    """The options a person set, by the API's names; the rest keep the API's defaults.

    A file of hardware is read here, for the daemon must see neither our folder nor our files.
    """
    asked = {name: value for name, value in options.items() if value not in (None, ())}
    if "what_if" in asked:
        asked["what_if"] = list(options["what_if"])  # type: ignore[call-overload]
    path = asked.pop("fleet_file", None)
    if path is not None:
        from mesh.cli.planning.fleet_file import read_fleet

        asked["fleet"] = read_fleet(str(path))
    return asked
