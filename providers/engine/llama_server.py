"""llama-server, llama.cpp's own HTTP server: the executable, or the wheel's under the same options.

Pure. Options as of llama.cpp b6000 and later; the wheel's program takes these and no others.
"""

from typing import Final

from providers.engine.llamacpp import parse_memory, reason
from providers.engine.setup import ALL_LAYERS, Engine, Memory, Program, Setup

# More than any model has: llama.cpp takes it as all, in every release.
ALL: Final = "999"
# A text of which a vector is made lies in one pass. The planner counts passes as long as the
# context; beyond this their buffers are as large as the model.
LONGEST_TEXT: Final = 8192
LEAST_PASS: Final = 512  # as llama.cpp has it
WHEEL: Final = "providers.engine_child.llama_server"


def programs(setup: Setup) -> tuple[Program, ...]:
    """On a card the executable first: the wheel on a registry computes on the processor, and on a
    Mac's GPU."""
    own, wheel = Program(executable="llama-server"), Program(module=WHEEL)
    return (wheel, own) if setup.vendor in ("", "apple") else (own, wheel)


def argv(setup: Setup, port: int) -> tuple[str, ...]:
    """Options of one server."""
    words = [
        *("--model", setup.model_path, "--alias", setup.name),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--ctx-size", str(setup.context * setup.parallel)),
        *("--parallel", str(setup.parallel)),
        *("--cache-type-k", setup.kv_type, "--cache-type-v", setup.kv_type),
        *("--n-gpu-layers", _layers(setup)),
        "--metrics",
        *("--verbosity", "4"),  # the level at which buffer sizes are logged
    ]
    if setup.cpu_experts:
        words += ["--n-cpu-moe", str(setup.cpu_experts)]
    if setup.card_count > 1:
        words += ["--split-mode", "row" if setup.split == "tensor" else "layer"]
        shares = setup.tensor_split or (1,) * setup.card_count
        words += ["--tensor-split", ",".join(map(str, shares))]
    if setup.threads:
        words += ["--threads", str(setup.threads)]
    if setup.embeddings:
        passes = str(max(LEAST_PASS, min(setup.context, LONGEST_TEXT)))
        words += ["--embeddings", "--batch-size", passes, "--ubatch-size", passes]
    elif setup.passes:
        words += ["--batch-size", str(setup.passes)]
    return tuple(words)


def _layers(setup: Setup) -> str:
    if not setup.vendor:
        return "0"
    return ALL if setup.gpu_layers == ALL_LAYERS else str(setup.gpu_layers)


def env(setup: Setup, port: int, key: str) -> dict[str, str]:
    """The key by the environment: a command line can be read by everybody on the machine."""
    # Without the first an abort starts a debugger on the core and dumps pages into the log.
    return {"GGML_NO_BACKTRACE": "1", "LLAMA_API_KEY": key}


def memory(log: str, metrics: str) -> Memory:
    """What its log says it allocated."""
    return parse_memory(log)


ENGINE: Final = Engine(
    name="llama.cpp",
    programs=programs,
    argv=argv,
    env=env,
    ready="/health",
    dialect="openai",
    metrics="/metrics",
    keyed=True,
    memory=memory,
    reason=reason,
    says_all=True,
    tokenize="/tokenize",
)
