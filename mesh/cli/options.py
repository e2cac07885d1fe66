"""The options commands share, written once: how a model runs, within what, and on what."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

import click

from mathcore.planner.query import OBJECTIVES
from mathcore.units import parse_count

Command = Callable[..., Any]


class Count(click.ParamType[int]):
    """A number of sequences or tokens, written 8192 or 8k; at least 1, at most the API's most."""

    name = "count"

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        from mesh.api.fields import MAX_BATCH, MAX_CONTEXT

        try:
            count = parse_count(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        most = MAX_BATCH if self.kind == "sequences" else MAX_CONTEXT
        if not 1 <= count <= most:
            self.fail(f"{value} is not between 1 and {most}", param, ctx)
        return count


SEQUENCES: Final = Count("sequences")
TOKENS: Final = Count("tokens")


class Renamed(click.Option):
    """An option that still answers to its old names, which help and errors do not mention."""

    def __init__(self, names: Sequence[str], old: Sequence[str] = (), **attrs: Any) -> None:
        super().__init__([*names, *old], **attrs)
        self.old = frozenset(old)

    def known_as(self) -> list[str]:
        """Its names of today."""
        return [name for name in self.opts if name not in self.old]

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        opts, self.opts = self.opts, self.known_as()
        try:
            return super().get_help_record(ctx)
        finally:
            self.opts = opts

    def get_error_hint(self, ctx: click.Context | None) -> str:
        return " / ".join(f"'{name}'" for name in self.known_as())


def on_option(*, several: bool = False, **attrs: Any) -> Callable[[Command], Command]:
    """--on DEVICE; --device is what half of the commands called it."""
    said = "only on this device; repeatable" if several else "only on this device"
    fit: dict[str, Any] = {"metavar": "DEVICE", "help": said, "multiple": several, **attrs}
    return click.option("--on", "on", cls=Renamed, old=["--device"], **fit)


# What engines call a number of sequences, a context and a cache type: answered to, not advertised.
BATCH_NAMES: Final = ("--num-parallel", "--parallel-sequences")
CONTEXT_NAMES: Final = ("--max-model-len", "--num-ctx", "--context-length")
CACHE_NAMES: Final = ("--kv-cache-dtype",)
batch_option: Final = click.option(
    "-b",
    "--batch",
    "batch",
    cls=Renamed,
    old=BATCH_NAMES,
    type=SEQUENCES,
    help="sequences at once  [default: 1]",
)
context_option: Final = click.option(
    "-c",
    "--context",
    "context",
    cls=Renamed,
    old=CONTEXT_NAMES,
    type=TOKENS,
    help="tokens per sequence: 8192 or 8k  [default: 4k]",
)
tokens_option: Final = click.option(
    "--tokens", type=TOKENS, help="tokens to generate per sequence  [default: 256]"
)
allow_beyond_option: Final = click.option(
    "--allow-beyond",
    is_flag=True,
    default=None,
    help="plan a context longer than the model was trained for, too",
)
prompt_tokens_option: Final = click.option(
    "--prompt-tokens", type=TOKENS, help="tokens in the prompt  [default: 512]"
)


def kv_type_option(help_text: str) -> Callable[[Command], Command]:
    """--kv-type, with the names that other programs give cache types."""
    return click.option(
        "--kv-type", "kv_type", cls=Renamed, old=CACHE_NAMES, metavar="TYPE", help=help_text
    )


_SHAPE: Final = (
    batch_option,
    context_option,
    tokens_option,
    prompt_tokens_option,
    click.option("--engine", metavar="NAME", help="llama.cpp, vllm …  [default: any]"),
    click.option("--quant", metavar="TYPE", help="weights as Q4_K_M, F16 …  [default: best]"),
    kv_type_option("cache as q8_0 …; auto tries 8 bits  [default: f16]"),
)
_LIMITS: Final = (
    click.option("--max-latency", metavar="TIME", help="answers within, loading aside: 30s, 5m"),
    click.option("--ttft", metavar="TIME", help="first token within: 500ms, 2s"),
    click.option("--min-tps", metavar="N", help="tokens a second of each sequence, at least"),
    click.option("--deadline", metavar="TIME", help="ends within, waiting and loading included"),
    click.option("--max-price", metavar="$", help="dollars an hour, at most: 0.50"),
    click.option("--max-cost", metavar="$", help="dollars altogether, at most: 0.01"),
    click.option("--min-quality", metavar="Q", help="0 to 1, where 1 is the 16-bit model: 0.97"),
    click.option(
        "--objective",
        type=click.Choice(OBJECTIVES),
        help="what the best one is  [default: balanced]",
    ),
    on_option(),
)
ram_option: Final = click.option("--ram", metavar="SIZE", help="memory of its host: 128GB")
rate_option: Final = click.option(
    "--rate", metavar="$/h", help="what an hour of it is rented for: 0.45/h"
)
# By llama.cpp's own names.
_LLAMACPP: Final = (
    click.option(
        "-ngl",
        "--gpu-layers",
        "--n-gpu-layers",
        metavar="N",
        help="llama.cpp: layers on the cards, or all  [default: the best split]",
    ),
    click.option(
        "-ncmoe",
        "--n-cpu-moe",
        type=click.IntRange(0),
        metavar="N",
        help="llama.cpp: first layers whose experts stay in RAM",
    ),
    click.option("-cmoe", "--cpu-moe", is_flag=True, default=None, help="llama.cpp: of all layers"),
    click.option("-ts", "--tensor-split", metavar="3,1", help="llama.cpp: each card's share"),
    click.option(
        "-ot",
        "--override-tensor",
        multiple=True,
        metavar="PATTERN=CPU",
        help="llama.cpp: tensors that stay in RAM; repeatable",
    ),
    click.option(
        "--no-flash-attn",
        "flash_attn",
        flag_value=False,
        default=None,
        help="llama.cpp: scores laid out in full",
    ),
    click.option(
        "-ub", "--ubatch", "--ubatch-size", type=TOKENS, help="llama.cpp: tokens of a pass"
    ),
    click.option("-ctk", "--cache-type-k", metavar="TYPE", help="llama.cpp: --kv-type of keys"),
    click.option("-ctv", "--cache-type-v", metavar="TYPE", help="llama.cpp: of values"),
    click.option(
        "-kvu",
        "--kv-unified",
        is_flag=True,
        default=None,
        help="llama.cpp: one pool for all sequences",
    ),
    click.option(
        "--swa-full", is_flag=True, default=None, help="llama.cpp: sliding layers keep everything"
    ),
    click.option("-np", "--parallel", type=SEQUENCES, help="llama.cpp: the same as --batch"),
    click.option(
        "--backend",
        type=click.Choice(("cuda", "rocm", "vulkan", "metal")),
        help="llama.cpp: what it is built for  [default: the card's own]",
    ),
)
# What is loaded beside the model.
_BESIDE: Final = (
    click.option(
        "-mm",
        "--mmproj",
        type=click.Path(exists=True, dir_okay=False, resolve_path=True),
        help="count this projector file",
    ),
    click.option(
        "--no-vision",
        "--no-mmproj",
        "vision",
        flag_value=False,
        default=None,
        help="without the model's vision tower",
    ),
    click.option(
        "--image-size",
        type=click.IntRange(1),
        metavar="PIXELS",
        help="pictures of up to so many a side  [default: what the engine reserves]",
    ),
    click.option(
        "-md", "--draft", metavar="MODEL", help="a small model that drafts tokens; mtp: own heads"
    ),
    click.option("--draft-quant", metavar="TYPE", help="its weights as  [default: Q8_0]"),
    click.option("--lora", multiple=True, metavar="FILE", help="an adapter, or its size: 160MB"),
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
    ram_option,
    rate_option,
)

_SERVER: Final = (
    click.option(
        "--gpu-memory-utilization", metavar="SHARE", help="of each card, for vLLM and TGI: 0.9"
    ),
    click.option(
        "--mem-fraction-static",
        metavar="SHARE",
        help="of each card, for SGLang's weights and cache",
    ),
    click.option("--max-num-seqs", type=SEQUENCES, help="sequences a server engine serves at once"),
    click.option("--max-num-batched-tokens", type=TOKENS, help="tokens of one of its steps"),
    click.option(
        "--tensor-parallel",
        "tensor_parallel",
        cls=Renamed,
        old=["--tensor-parallel-size", "--tp-size"],
        type=click.IntRange(1),
        metavar="N",
        help="cards that split every layer",
    ),
    click.option(
        "--pipeline-parallel",
        "pipeline_parallel",
        cls=Renamed,
        old=["--pipeline-parallel-size", "--pp-size"],
        type=click.IntRange(1),
        metavar="N",
        help="stages of layers, one after another",
    ),
    click.option(
        "--prefix-caching/--no-prefix-caching", default=None, help="of vLLM  [default: yes]"
    ),
    click.option(
        "--mamba-ssm-cache-dtype",
        metavar="TYPE",
        help="of recurrent states: float32 …  [default: the config's, else the model's]",
    ),
    click.option("--enforce-eager", is_flag=True, default=None, help="no CUDA graphs"),
    click.option(
        "--engine-build",
        metavar="VERSION",
        help="of vllm, sglang or mlx: 0.28  [default: the newest known]",
    ),
)
SERVER_FLAGS: Final = (
    "gpu_memory_utilization",
    "mem_fraction_static",
    "max_num_seqs",
    "max_num_batched_tokens",
    "tensor_parallel",
    "pipeline_parallel",
    "prefix_caching",
    "mamba_ssm_cache_dtype",
    "enforce_eager",
    "engine_build",
)


def _with(command: Command, *groups: tuple[Callable[[Command], Command], ...]) -> Command:
    for group in reversed(groups):
        for option in reversed(group):
            command = option(command)
    return command


def plan_options(command: Command) -> Command:
    """How the model runs and what an answer must keep to; `plan` and `run` take the same."""
    return _with(command, _SHAPE, _LIMITS)


def llamacpp_options(command: Command) -> Command:
    """What llama.cpp is told, by the names of its own options."""
    return _with(command, _LLAMACPP)


def beside_options(command: Command) -> Command:
    """What is loaded beside the model."""
    return _with(command, _BESIDE)


def hardware_options(command: Command) -> Command:
    """Hardware to ask about instead of the fleet's, and what its hosts have and cost."""
    return _with(command, _INSTEAD)


def server_options(command: Command) -> Command:
    """How vLLM, SGLang and TGI are started, by their own flags."""
    return _with(command, _SERVER)


def given(options: dict[str, object]) -> dict[str, object]:
    """The options a person set, by the API's names; the rest keep the API's defaults.

    A file of hardware is read here, for the daemon must see neither our folder nor our files.
    """
    asked = {name: value for name, value in options.items() if value not in (None, ())}
    if "override_tensor" in asked:
        told = options["override_tensor"]
        asked["override_tensor"] = [o for text in told for o in text.split(",")]  # type: ignore[attr-defined]
    layers = asked.get("gpu_layers")
    if isinstance(layers, str):
        asked["gpu_layers"] = int(layers) if layers.isdigit() else layers.replace("-1", "all")
    if "lora" in asked:
        asked["lora"] = list(options["lora"])  # type: ignore[call-overload]
    if "what_if" in asked:
        asked["what_if"] = list(options["what_if"])  # type: ignore[call-overload]
    path = asked.pop("fleet_file", None)
    if path is not None:
        from mesh.cli.planning.fleet_file import read_fleet

        asked["fleet"] = read_fleet(str(path))
    elif "what_if" not in asked and (beside := {"ram", "rate"} & asked.keys()):
        _nothing_described(sorted(beside)[0])
    return asked


def _nothing_described(name: str) -> NoReturn:
    from mesh.cli.exits import USAGE, stop

    text = f"--{name} says something of hardware that is described, and none is"
    stop(USAGE, text, f'add --what-if "RTX 4090" --{name} {"128GB" if name == "ram" else "0.45/h"}')


def confirm(question: str) -> None:
    """Go on if a person says yes; one line where nobody can answer."""
    try:
        click.confirm(question, abort=True, err=True)
    except click.Abort as error:
        if isinstance(error.__context__, EOFError):
            from mesh.cli.exits import USAGE, stop

            click.echo(err=True)
            stop(USAGE, "nobody is there to answer the question", "the same command with -y")
        raise
