"""What real llama.cpp says a model needs: `ask(path, context=4096)` -> Breakdown.

The library is the one inside the xllamacpp wheel, called through its public C functions in a child
process (it aborts on errors). `no_alloc`: it builds the real model, caches and graphs and allocates
nothing, so a 70B file with holes for weights takes a third of a second. Its log carries the sizes.
Tested with the file `sparse_gguf.write_gguf` writes.
"""

import ctypes
import importlib.util
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from providers.engine_child.tokens import ModelParams

MIB = 1 << 20
TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "bf16": 30}


class ContextParams(ctypes.Structure):
    """struct llama_context_params; the wheel has one pointer more (`wheel`) than the header."""

    _fields_ = (
        ("n_ctx", ctypes.c_uint32),
        ("n_batch", ctypes.c_uint32),
        ("n_ubatch", ctypes.c_uint32),
        ("n_seq_max", ctypes.c_uint32),
        ("n_rs_seq", ctypes.c_uint32),
        ("n_outputs_max", ctypes.c_uint32),
        ("n_outputs_max_per_seq", ctypes.c_uint32),
        ("n_threads", ctypes.c_int32),
        ("n_threads_batch", ctypes.c_int32),
        ("ctx_type", ctypes.c_int),
        ("rope_scaling_type", ctypes.c_int),
        ("pooling_type", ctypes.c_int),
        ("attention_type", ctypes.c_int),
        ("flash_attn_type", ctypes.c_int),
        ("rope", ctypes.c_float * 6),
        ("yarn_orig_ctx", ctypes.c_uint32),
        ("defrag_thold", ctypes.c_float),
        ("cb_eval", ctypes.c_void_p),
        ("cb_eval_data", ctypes.c_void_p),
        ("type_k", ctypes.c_int),
        ("type_v", ctypes.c_int),
        ("abort", ctypes.c_void_p),
        ("abort_data", ctypes.c_void_p),
        ("wheel", ctypes.c_void_p),
        ("embeddings", ctypes.c_bool),
        ("offload_kqv", ctypes.c_bool),
        ("no_perf", ctypes.c_bool),
        ("op_offload", ctypes.c_bool),
        ("swa_full", ctypes.c_bool),
        ("kv_unified", ctypes.c_bool),
        ("samplers", ctypes.c_void_p),
        ("n_samplers", ctypes.c_size_t),
        ("ctx_other", ctypes.c_void_p),
        ("room", ctypes.c_uint8 * 256),
    )


LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


@dataclass(frozen=True)
class Cache:
    """One attention cache: full, sliding, or an indexer's, in the order llama.cpp makes them."""

    cells: int
    layers: int
    k_mib: float
    v_mib: float


@dataclass(frozen=True)
class Breakdown:
    """Sizes in MiB as logged, with two decimals; `log` is all it said."""

    caches: tuple[Cache, ...]
    recurrent: tuple[float, float]  # R with P (n-grams read), and S
    compute_mib: float
    output_mib: float
    model_bytes: int  # of all tensors
    parameters: int
    log: str

    @property
    def cache_mib(self) -> float:
        return sum(cache.k_mib + cache.v_mib for cache in self.caches)


class EngineError(Exception):
    """llama.cpp did not take the model; the text is the end of its log."""


def ask(path: Path, **wanted: object) -> Breakdown:
    """Loads `path` in a child: context, sequences, ubatch, k, v, flash, unified, swa_full."""
    return read_log(run(path, **wanted))


def run(path: Path, **wanted: object) -> str:
    """The log of one load; EngineError with its end when it failed."""
    child = subprocess.run(
        [sys.executable, __file__, str(path), json.dumps(wanted)],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
        env={**os.environ, "GGML_NO_BACKTRACE": "1"},
    )
    if child.returncode != 0:
        raise EngineError(child.stdout[-1500:] + child.stderr[-1500:])
    return child.stdout


def _number(log: str, pattern: str) -> float:
    return sum(float(found) for found in re.findall(pattern, log))


def read_log(log: str) -> Breakdown:
    caches = [
        Cache(int(cells), int(layers), float(k), float(v))
        for cells, layers, k, v in re.findall(
            r"size =\s*[\d.]+ MiB \(\s*(\d+) cells,\s*(\d+) layers,[^)]*\), "
            r"K \([\w.]+\):\s*([\d.]+) MiB, V \([\w.]+\):\s*([\d.]+) MiB",
            log,
        )
    ]
    states = re.findall(
        r"R \(f32\):\s*([\d.]+) MiB, S \(f32\):\s*([\d.]+) MiB(?:, P \(f32\):\s*([\d.]+) MiB)?", log
    )
    return Breakdown(
        caches=tuple(caches),
        recurrent=(
            sum(float(r) + float(p or 0) for r, _, p in states),
            sum(float(s) for _, s, _ in states),
        ),
        compute_mib=_number(log, r"compute buffer size =\s*([\d.]+) MiB"),
        output_mib=_number(log, r"output buffer size =\s*([\d.]+) MiB"),
        model_bytes=int(_number(log, r"oracle: (\d+) bytes")),
        parameters=int(_number(log, r"oracle: \d+ bytes, (\d+) parameters")),
        log=log,
    )


def _library() -> ctypes.CDLL:
    spec = importlib.util.find_spec("xllamacpp")
    assert spec is not None
    assert spec.origin is not None
    (found,) = Path(spec.origin).parent.glob("xllamacpp*.so")
    library = ctypes.CDLL(str(found))
    library.llama_model_default_params.restype = ModelParams
    library.llama_context_default_params.restype = ContextParams
    library.llama_model_load_from_file.restype = ctypes.c_void_p
    library.llama_model_load_from_file.argtypes = [ctypes.c_char_p, ModelParams]
    library.llama_model_size.restype = ctypes.c_uint64
    library.llama_model_size.argtypes = [ctypes.c_void_p]
    library.llama_model_n_params.restype = ctypes.c_uint64
    library.llama_model_n_params.argtypes = [ctypes.c_void_p]
    library.llama_init_from_model.restype = ctypes.c_void_p
    library.llama_init_from_model.argtypes = [ctypes.c_void_p, ContextParams]
    return library


def _context(library: ctypes.CDLL, wanted: dict[str, object]) -> ContextParams:
    params: ContextParams = library.llama_context_default_params()
    flags = (params.embeddings, params.offload_kqv, params.no_perf, params.op_offload)
    # The defaults llama.cpp documents: they are where we look only if the layout is the wheel's.
    assert flags == (False, True, True, True), "another version's llama_context_params"
    assert (params.swa_full, params.kv_unified) == (True, False), "the same"
    params.n_ctx = int(str(wanted.get("context", 4096)))
    params.n_ubatch = int(str(wanted.get("ubatch", 512)))
    params.n_batch = int(str(wanted.get("batch", 2048)))
    params.n_seq_max = int(str(wanted.get("sequences", 1)))
    params.n_outputs_max = int(str(wanted.get("outputs", 0)))
    params.flash_attn_type = 1 if wanted.get("flash", True) else 0
    params.type_k = TYPES[str(wanted.get("k", "f16"))]
    params.type_v = TYPES[str(wanted.get("v", "f16"))]
    params.kv_unified = bool(wanted.get("unified", False))
    params.swa_full = bool(wanted.get("swa_full", False))
    return params


def child(path: str, wanted: dict[str, object]) -> int:
    library = _library()
    lines: list[bytes] = []
    keep = LOG(lambda level, text, data: lines.append(text))
    library.llama_log_set(keep, None)
    library.llama_backend_init()
    params: ModelParams = library.llama_model_default_params()
    params.load_mode = 0  # no_alloc aborts with memory mapping
    params.use_extra_bufts = False
    params.no_alloc = True
    model = library.llama_model_load_from_file(path.encode(), params)
    made = library.llama_init_from_model(model, _context(library, wanted)) if model else None
    if model:
        size, count = library.llama_model_size(model), library.llama_model_n_params(model)
        lines.append(f"oracle: {size} bytes, {count} parameters\n".encode())
    sys.stdout.buffer.write(b"".join(lines))
    sys.stdout.flush()
    os._exit(0 if made else 1)


if __name__ == "__main__":
    child(sys.argv[1], json.loads(sys.argv[2]))
