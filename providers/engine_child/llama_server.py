"""The llama.cpp in the xllamacpp wheel as a server of its own, under llama-server's own options.

`LLAMA_API_KEY=… python -m providers.engine_child.llama_server --model FILE --port N …`; it runs
until SIGTERM. Exit 78: this model can't run here.
"""

import argparse
import os
import signal
import sys

from providers.cores import idle_cores
from providers.engine_child.llamacpp import refuse

# Which tensors of a layer are its routed experts, by llama.cpp's names, and where they go.
EXPERTS = r"blk\.%d\.ffn_(up|down|gate|gate_up)_(ch|)exps=CPU"
MAX_CARDS = 128  # the length of the wheel's own list


def options(words: list[str]) -> argparse.Namespace:
    """What `providers.engine.llama_server.argv` says, and nothing else."""
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    for name in ("--model", "--alias", "--host", "--cache-type-k", "--cache-type-v"):
        parser.add_argument(name, required=True)
    for name in ("--port", "--ctx-size", "--parallel", "--n-gpu-layers"):
        parser.add_argument(name, type=int, required=True)
    for name in ("--n-cpu-moe", "--threads", "--verbosity", "--batch-size", "--ubatch-size"):
        parser.add_argument(name, type=int, default=0)
    parser.add_argument("--metrics", action="store_true")
    parser.add_argument("--embeddings", action="store_true")
    parser.add_argument("--split-mode", choices=("layer", "row"), default="layer")
    parser.add_argument("--tensor-split", type=_shares, default=[])
    return parser.parse_args(words)


def _shares(text: str) -> list[float]:
    shares = [float(word) for word in text.split(",")]
    if len(shares) > MAX_CARDS:
        raise ValueError(f"{len(shares)} cards")
    return shares


def params(asked: argparse.Namespace):  # type: ignore[no-untyped-def]  # the engine has no types
    """The wheel's own parameters."""
    try:
        import xllamacpp
    except ImportError as error:
        refuse(f"no llama.cpp here ({error}); run: {sys.executable} -m pip install xllamacpp")
    made = xllamacpp.CommonParams()
    made.model.path, made.model_alias = asked.model, {asked.alias}
    made.hostnames, made.port = [asked.host], asked.port
    made.n_ctx, made.n_parallel, made.n_gpu_layers = (
        asked.ctx_size,
        asked.parallel,
        asked.n_gpu_layers,
    )
    made.cache_type_k = _cache_type(xllamacpp, asked.cache_type_k)
    made.cache_type_v = _cache_type(xllamacpp, asked.cache_type_v)
    made.endpoint_metrics, made.verbosity = asked.metrics, asked.verbosity
    made.cpuparams.n_threads = asked.threads or idle_cores()
    made.api_keys = [key] if (key := os.environ.get("LLAMA_API_KEY")) else []
    made.ui = False
    made.cache_ram_mib = 0  # what is kept beside the slots is in no plan
    made.embedding = asked.embeddings
    made.n_batch, made.n_ubatch = (
        asked.batch_size or made.n_batch,
        asked.ubatch_size or made.n_ubatch,
    )
    if asked.n_cpu_moe:
        made.tensor_buft_overrides = ",".join(EXPERTS % i for i in range(asked.n_cpu_moe))
    if asked.tensor_split:
        shares = asked.tensor_split
        made.tensor_split = shares + [0.0] * (MAX_CARDS - len(shares))
        mode = f"LLAMA_SPLIT_MODE_{asked.split_mode.upper()}"
        made.split_mode = getattr(xllamacpp.llama_split_mode, mode)
    return made


def _cache_type(xllamacpp, name: str):  # type: ignore[no-untyped-def]
    kinds = {kind[10:].lower(): kind for kind in dir(xllamacpp.ggml_type)}
    if name not in kinds:
        refuse(f"llama.cpp has no cache type {name!r}; try f16 or q8_0")
    return getattr(xllamacpp.ggml_type, kinds[name])


def main() -> int:
    """Serve until told to stop."""
    # Blocked before the engine starts its threads, so that only `sigwait` below hears them.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    made = params(options(sys.argv[1:]))
    import xllamacpp

    try:
        server = xllamacpp.Server(made)
    except RuntimeError as error:
        refuse(f"llama.cpp can't serve {made.model.path}: {error}")
    print(f"llama.cpp serves at {server.listening_address}", file=sys.stderr, flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    return 0


if __name__ == "__main__":
    sys.exit(main())
