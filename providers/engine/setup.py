"""What every engine's launch is made from, and what an engine is to the program that holds it.

Pure. `providers.engine_child.supervisor` reads a `Setup` out of the attempt's spec, asks the engine
of that name for its argv, and speaks its dialect.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Final, Literal, final

from providers.base import Launch

# "(EngineCore pid=7) ValueError: head size 16 is not supported", to the end of its line.
EXCEPTION: Final = re.compile(r"\b((?:[A-Z]\w*)?(?:Error|Exception): .+)$", re.MULTILINE)
Vendor = Literal["nvidia", "amd", "intel", "apple", ""]  # "" = the processor
Task = Literal["prompt", "lines", "serve"]
ALL_LAYERS: Final = -1  # as a plan says it
# Weights come from a disk that others use too and a driver's first start compiles kernels: what
# takes four times as long as nine in ten do has failed.
LOAD_FACTOR: Final = 4
# An engine in Python imports for half a minute before it loads anything (vLLM on two cores: 29 s).
LEAST_READY_S: Final = 120
UNKNOWN_READY_S: Final = (
    900  # where no plan says how long it should take: an hour would hide a hang
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How a plan wants its engine started. Counts are per sequence, `parallel` sequences at once.

    `split`: "layer" = cards one after the other, "tensor" = every layer over all of them.
    `tensor_split`: layers of each card, in the order of `cards`, the output layer one more; empty =
    even. `stages`: so many groups of cards one after the other, each of which splits its layers;
    0 = as `split` says.
    """

    engine: str
    model_path: str
    name: str = "model"  # as requests call it
    context: int = 4096
    parallel: int = 1
    kv_type: str = "f16"
    quant: str = ""
    vendor: Vendor = ""
    cards: tuple[str, ...] = ()
    split: str = "layer"
    tensor_split: tuple[int, ...] = ()
    stages: int = 0
    gpu_layers: int = ALL_LAYERS
    cpu_experts: int = 0
    threads: int = 0  # 0 = as many as cores are idle when it starts
    kv_bytes: int = 0  # as planned; 0 = unknown
    load_p90_ms: int = 0  # as planned; 0 = unknown
    passes: int = 0  # tokens read between two looks at who went away; 0 = as the engine likes
    embeddings: bool = False  # the model makes vectors of texts
    program: str = ""  # the executable, where somebody looked already; "" = find it

    @property
    def card_count(self) -> int:
        """Cards it computes on; 1 for a processor."""
        return max(1, len(self.cards))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One way to start an engine: an executable on PATH, or a module of a Python.

    With both, the module is run by the Python beside the executable, where there is one.
    """

    executable: str = ""
    module: str = ""
    words: tuple[str, ...] = ()  # after the executable, where it is run itself


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What an engine says it allocated, in bytes; 0 = it does not say."""

    weights_bytes: int = 0
    kv_bytes: int = 0
    compute_bytes: int = 0
    state_bytes: int = 0
    backends: dict[str, int] = field(default_factory=dict)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One engine as its supervisor meets it.

    `argv` are the words after the program, `env` what its environment gets, with a key that
    requests must show where the engine can ask for one. `ready` answers 200 once it can answer.
    """

    name: str
    programs: Callable[[Setup], tuple[Program, ...]]
    argv: Callable[[Setup, int], tuple[str, ...]]
    env: Callable[[Setup, int, str], dict[str, str]]
    ready: str
    dialect: Literal["openai", "ollama", "tgi"]
    fault: Callable[[Setup], str] = lambda _: ""  # why this setup can't be, "" = it can
    metrics: str = ""  # a page of Prometheus text, if it has one
    memory: Callable[[str, str], Memory] = lambda log, metrics: Memory()
    keyed: bool = False  # it refuses who does not show the key
    reason: Callable[[str], str] = lambda log: last_error(log)  # why it ended, by its log
    says_all: bool = False  # a term its log does not name is 0, not unknown
    tokenize: str = ""  # where it tells a text's tokens, if it does


def launch(
    setup: Setup,
    *,
    job_id: str,
    attempt: int,
    python: str,
    task: Task,
    work: Mapping[str, object],
) -> Launch:
    """One attempt: the supervisor's command line is always this, all else is in the spec."""
    return Launch(
        job_id=job_id,
        attempt=attempt,
        kind="server" if task == "serve" else "model",
        argv=(python, "-m", "providers.engine_child.supervisor"),
        env={"PYTHONUNBUFFERED": "1"},
        spec={"setup": asdict(setup), "task": task, **work},
        cards=setup.cards,
    )


def setup_of(spec: Mapping[str, object]) -> Setup:
    """The setup in an attempt's spec, as JSON gave it back; ValueError where it holds none."""
    found = spec.get("setup")
    if not isinstance(found, Mapping):
        raise ValueError("no setup")
    known = {one.name for one in fields(Setup)}
    values = {key: _plain(value) for key, value in found.items() if key in known}
    try:
        return Setup(**values)  # type: ignore[arg-type]  # it was written by `launch`
    except TypeError as error:
        raise ValueError(str(error)) from error


def _plain(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def last_error(log: str) -> str:
    """The last exception that a program in Python told of; "" where there is none."""
    found = EXCEPTION.findall(log)
    return found[-1].strip() if found else ""


def ready_limit_s(setup: Setup) -> float:
    """How long an engine may take until it can answer."""
    if setup.load_p90_ms <= 0:
        return UNKNOWN_READY_S
    return max(LEAST_READY_S, LOAD_FACTOR * setup.load_p90_ms / 1000)


def safe_name(text: str) -> str:
    """A model's name as engines take it in an option: no leading dash, no list, one line."""
    kept = "".join(char if char.isprintable() and char not in ",=" else "_" for char in text)
    return kept.lstrip("-").strip()[:128] or "model"
