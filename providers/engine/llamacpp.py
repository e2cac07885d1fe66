"""llama.cpp: the launch of one run, and its log lines as bytes.

Pure. The program that holds the engine is `providers.engine_child.llamacpp`.
"""

import re

from providers.base import Launch
from providers.engine.setup import Memory

MIB = 1024 * 1024
ANSWER_FILE = "answer.txt"  # beside log.txt: the model's words alone
# "load_tensors:   CUDA0 model buffer size =  1.63 MiB". llama.cpp prints two decimals,
# so a parsed size is right to 0.005 MiB (5,243 bytes).
BUFFER = re.compile(r"(\S+)\s+(model|KV|compute|output|RS) buffer size =\s*(\d+(?:\.\d+)?) MiB")

# "0.00.004.355 E gguf_init: …", at times right behind a line of progress dots.
ERROR = re.compile(r"(?<!\d)\d+(?:\.\d+)+ E (.+)$", re.MULTILINE)


def launch(
    *,
    job_id: str,
    attempt: int,
    python: str,
    model_path: str,
    tokens: int,
    context: int,
    batch: int = 1,
    prompt: str = "",
    prompt_tokens: int = 0,
    kv_type: str = "f16",
    ignore_eos: bool = True,
    threads: int = 0,
) -> Launch:
    """One run of `batch` sequences of `context` tokens each, `tokens` of them generated.

    An empty prompt with `prompt_tokens` > 0 is filled with that many tokens, for measuring.
    `threads` 0: as many as cores are idle when it starts.
    """
    spec: dict[str, object] = {
        "model_path": model_path,
        "context_total": context * batch,
        "parallel": batch,
        "tokens": tokens,
        "prompt": prompt,
        "prompt_tokens": prompt_tokens,
        "kv_type": kv_type,
        "ignore_eos": ignore_eos,
        "threads": threads,
    }
    return Launch(
        job_id=job_id,
        attempt=attempt,
        kind="model",
        argv=argv(python),
        # Without it an abort starts a debugger on the core and dumps pages into the log.
        env={"GGML_NO_BACKTRACE": "1", "PYTHONUNBUFFERED": "1"},
        spec=spec,
    )


def argv(python: str) -> tuple[str, ...]:
    """The program reads its spec from the job's folder, so the command line is always this."""
    return (python, "-m", "providers.engine_child.llamacpp")


def parse_memory(log: str) -> Memory:
    """Sum the buffers of every backend."""
    sizes: dict[str, int] = {"model": 0, "KV": 0, "compute": 0, "output": 0, "RS": 0}
    backends: dict[str, int] = {}
    for backend, kind, mib in BUFFER.findall(log):
        size = mib_bytes(mib)
        sizes[kind] += size
        backends[backend] = backends.get(backend, 0) + size
    return Memory(
        weights_bytes=sizes["model"],
        kv_bytes=sizes["KV"],
        compute_bytes=sizes["compute"] + sizes["output"],
        state_bytes=sizes["RS"],
        backends=backends,
    )


def reason(log: str) -> str:
    """Its first error line: what it said before every caller repeated that it failed."""
    found = ERROR.search(log)
    return found[1].strip() if found else ""


def mib_bytes(text: str) -> int:
    """ "4.52" MiB as bytes, without a float in between."""
    whole, _, fraction = text.partition(".")
    scale = int("1" + "0" * len(fraction))
    return (int(whole) * scale + int(fraction or "0")) * MIB // scale
