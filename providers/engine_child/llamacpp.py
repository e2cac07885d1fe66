"""Run one llama.cpp job in this process: load, complete `parallel` prompts at once, measure.

`FLEET_JOB_DIR=… python -m providers.engine_child.llamacpp`. The answer goes to JOB_DIR/answer.txt
token by token, llama.cpp's log to stderr, the numbers to JOB_DIR/engine.json. Exit 78: this model
can't run here.
"""

import http.client
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from providers import durable
from providers.cores import idle_cores, physical_cores
from providers.engine.llamacpp import ANSWER_FILE, parse_memory, reason
from providers.log import SPEAKER
from providers.runner import JOB_DIR, SETUP_EXIT

Reply = dict[str, object]
LOADED = "model loaded"
FAILED = "model not loaded"
# The runner copies our words into log.txt; it is behind by a pipe, not by seconds.
LOG_LIMIT_S = 3.0
LOG_EVERY_S = 0.01
LOG_HEAD_BYTES = 4 * 1024 * 1024  # every load line is in the first few KiB
# Repeated to fill a prompt of a wanted length when the job brings none.
FILLER = "The quick brown fox reads a ledger. "


def main() -> int:
    """Load, run, report."""
    job_dir = Path(os.environ[JOB_DIR])
    spec = (durable.read_json(job_dir / "launch.json") or {}).get("spec")
    if not isinstance(spec, dict):
        refuse(f"no spec in {job_dir / 'launch.json'}")
    cores: dict[str, object] = {"threads": threads(spec), "cores": physical_cores()}
    server = load(spec | cores, job_dir)
    print(LOADED, file=sys.stderr, flush=True)
    begun = time.monotonic()
    with Answer(job_dir / ANSWER_FILE) as answer:
        replies = complete(server.listening_address, spec, answer)
    wall_ms = int((time.monotonic() - begun) * 1000)
    log = log_until(LOADED, job_dir / "log.txt")
    durable.write_json(job_dir / "engine.json", report(replies, wall_ms, log) | cores)
    return 0


def load(spec: dict[str, object], job_dir: Path):  # type: ignore[no-untyped-def]  # the engine has no types
    """The engine's server on a loopback port of its own choosing."""
    model_path = str(spec["model_path"])
    if not Path(model_path).is_file():
        refuse(f"no model file at {model_path}")
    try:
        import xllamacpp
    except ImportError as error:
        refuse(f"no llama.cpp here ({error}); run: {sys.executable} -m pip install xllamacpp")
    kinds = {name[10:].lower(): name for name in dir(xllamacpp.ggml_type)}
    kind = kinds.get(str(spec["kv_type"]))
    if kind is None:
        refuse(f"llama.cpp has no cache type {spec['kv_type']!r}; try f16 or q8_0")
    params = xllamacpp.CommonParams()
    params.model.path = model_path
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_ctx, params.n_parallel = spec["context_total"], spec["parallel"]
    params.cache_type_k = params.cache_type_v = getattr(xllamacpp.ggml_type, kind)
    params.cache_ram_mib = 0  # a finished job's prompt is never asked for again
    params.verbosity = 4  # the level at which buffer sizes are logged
    params.cpuparams.n_threads = spec["threads"]
    try:
        return xllamacpp.Server(params)
    except RuntimeError:
        refuse(f"llama.cpp can't load {model_path}: {own_reason(job_dir)}")


def refuse(text: str) -> NoReturn:
    """One clear line, and the exit code that means "not here"."""
    print(SPEAKER + text, file=sys.stderr, flush=True)
    sys.exit(SETUP_EXIT)


def threads(spec: dict[str, object]) -> int:
    """What the job asks for, else as many as cores are idle; a busy machine is said in the log."""
    asked = int(str(spec.get("threads") or 0))
    idle = idle_cores()
    if idle < physical_cores() and not asked:
        print(f"this machine is busy: {idle} of {physical_cores()} cores idle", file=sys.stderr)
    return asked or idle


class Answer:
    """answer.txt: the first sequence as it comes, the others whole when all have ended."""

    def __init__(self, path: Path) -> None:
        self.out = os.fdopen(durable.private_file(path, os.O_TRUNC), "wb", buffering=0)

    def __enter__(self) -> "Answer":
        return self

    def __exit__(self, *_: object) -> None:
        self.out.close()

    def write(self, text: str) -> None:
        """Text for people: what is no character becomes one that is."""
        self.out.write(text.encode(errors="replace"))


def complete(address: str, spec: dict[str, object], answer: Answer) -> list[Reply]:
    """Every sequence at once, in order: each reply its last message, `content` its whole text."""
    host = address.removeprefix("http://")
    count = int(str(spec["parallel"]))
    body = {
        "prompt": prompt(host, spec),
        "n_predict": spec["tokens"],
        "ignore_eos": bool(spec.get("ignore_eos", True)),
        "cache_prompt": False,  # equal prompts would share a prefill and flatter the number
        "stream": True,
    }
    heard: list[Callable[[str], None]] = [answer.write, *[lambda _: None] * (count - 1)]
    with ThreadPoolExecutor(count) as pool:
        replies = list(pool.map(lambda hear: stream(host, body, hear), heard))
    for reply in replies[1:]:
        answer.write(f"\n{reply['content']}")
    answer.write("\n")
    return replies


def stream(host: str, body: dict[str, object], hear: Callable[[str], None]) -> Reply:
    """One completion, its text handed to `hear` as it is made; its last message has the timings."""
    words: list[str] = []
    last: Reply = {}
    with asked(host, "/completion", body) as response:
        for raw in response:
            kind, _, value = raw.partition(b": ")
            if kind == b"error" or value.startswith(b'{"error"'):
                refused(value)
            if kind != b"data":
                continue
            last = json.loads(value)
            words.append(str(last.get("content", "")))
            hear(words[-1])
    return {**last, "content": "".join(words)}


def prompt(host: str, spec: dict[str, object]) -> str | list[int]:
    """The job's own words, or exactly `prompt_tokens` tokens of filler."""
    text, wanted = str(spec["prompt"]), int(str(spec["prompt_tokens"]))
    if text or not wanted:
        return text
    tokens = post(host, "/tokenize", {"content": FILLER})["tokens"]
    assert isinstance(tokens, list)
    return (tokens * (wanted // len(tokens) + 1))[:wanted]


def post(host: str, path: str, body: dict[str, object]) -> Reply:
    """One question to the engine's own server and its whole answer."""
    with asked(host, path, body) as response:
        reply = json.loads(response.read())
    assert isinstance(reply, dict)
    return reply


@contextmanager
def asked(host: str, path: str, body: dict[str, object]) -> Iterator[http.client.HTTPResponse]:
    """The engine's answer to one question; where it says no, this program ends with its words."""
    link = http.client.HTTPConnection(host)
    try:
        link.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = link.getresponse()
        if response.status != 200:
            refused(response.read())
        yield response
    finally:
        link.close()


def refused(data: bytes) -> NoReturn:
    """llama.cpp's own sentence, out of its JSON; the other sequences still hold their threads."""
    try:
        words = str(json.loads(data)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        words = data.decode(errors="replace")
    print(f"{SPEAKER}llama.cpp refused: {words}", file=sys.stderr, flush=True)
    os._exit(1)


def own_reason(job_dir: Path) -> str:
    """Why it failed, in llama.cpp's own words."""
    print(FAILED, file=sys.stderr, flush=True)
    return reason(log_until(FAILED, job_dir / "log.txt")) or "it doesn't say why"


def log_until(mark: str, path: Path) -> str:
    """The log once the runner has written our own mark; what there is when it takes too long."""
    deadline = time.monotonic() + LOG_LIMIT_S
    while True:
        with path.open("rb") as log:
            text = log.read(LOG_HEAD_BYTES).decode(errors="replace")
        if mark in text or time.monotonic() > deadline:
            return text
        time.sleep(LOG_EVERY_S)


def report(replies: list[Reply], wall_ms: int, log: str) -> dict[str, object]:
    """engine.json. Sequences run side by side, so a phase lasts as long as its slowest."""
    timings = [reply["timings"] for reply in replies]
    rows = [row for row in timings if isinstance(row, dict)]
    prompted = sum(int(row["prompt_n"]) for row in rows)
    generated = sum(int(row["predicted_n"]) for row in rows)
    prefill_ms = max(float(row["prompt_ms"]) for row in rows)
    decode_ms = max(float(row["predicted_ms"]) for row in rows)
    memory = parse_memory(log)
    return {
        "prompt_tokens": prompted,
        "tokens_generated": generated,
        "prefill_ms": int(prefill_ms),
        "decode_ms": int(decode_ms),
        "wall_ms": wall_ms,
        "prefill_mtps": rate(prompted, prefill_ms),
        "decode_mtps": rate(generated, decode_ms),
        "sequences": rows,
        "memory": {
            "weights_bytes": memory.weights_bytes,
            "kv_bytes": memory.kv_bytes,
            "compute_bytes": memory.compute_bytes,
            "state_bytes": memory.state_bytes,
        },
    }


def rate(tokens: int, ms: float) -> int:
    """Milli-tokens per second."""
    return int(tokens * 1_000_000 / ms) if ms > 0 else 0


if __name__ == "__main__":
    sys.exit(main())
