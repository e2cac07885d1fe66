"""Devices and files the mathcore tests share."""

import struct
from pathlib import Path

import gguf

from mathcore.api import GIB, NUSD, DeviceSpec, Rate


def device(device_id: str = "gpu0", free: int = 24 * GIB, **changes: object) -> DeviceSpec:
    fields: dict[str, object] = {
        "device_id": device_id,
        "name": device_id,
        "kind": "gpu",
        "model": "RTX 4090",
        "count": 1,
        "memory_bytes": free,
        "free_bytes": free,
        "free_basis": "measured",
        "bandwidth_bytes_per_s": 1008 * 10**9,
        "bandwidth_basis": "catalogue",
        "flops": 165 * 10**12,
        "watts": 450,
        "engines": ("llama.cpp",),
        "location": "local",
        "provider": "local",
        "ram_free_bytes": 0,
        "ram_bandwidth_bytes_per_s": 0,
        "rate": Rate(
            price_nusd=1600 * NUSD, lifetime_months=60, watts=450, tariff_nusd_per_kwh=NUSD // 5
        ),
    }
    fields.update(changes)
    return DeviceSpec(**fields)  # type: ignore[arg-type]


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def header(keys: int, tensors: int, body: bytes, magic: bytes = b"GGUF") -> bytes:
    return magic + struct.pack("<IQQ", 3, tensors, keys) + body


def write_sparse(
    path: Path, layers: int, hidden: int, ffn: int, heads: int, kv: int, vocab: int
) -> int:
    """A llama GGUF with real shapes and holes for weights; its tensor bytes (F16 and F32)."""
    w = gguf.GGUFWriter(path, "llama")
    w.add_name("sparse")
    w.add_context_length(131072)
    w.add_embedding_length(hidden)
    w.add_block_count(layers)
    w.add_feed_forward_length(ffn)
    w.add_head_count(heads)
    w.add_head_count_kv(kv)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_dimension_count(hidden // heads)
    w.add_vocab_size(vocab)
    w.add_file_type(int(gguf.LlamaFileType.MOSTLY_F16))
    w.add_tokenizer_model("llama")
    w.add_token_list(["<unk>", "<s>", "</s>", *[f"<x{i}>" for i in range(vocab - 3)]])
    w.add_token_scores([0.0] * vocab)
    w.add_token_types([2, 3, 3] + [1] * (vocab - 3))
    total = 0

    def add(name: str, *shape: int) -> None:
        nonlocal total
        wide = len(shape) == 1
        dtype = gguf.GGMLQuantizationType.F32 if wide else gguf.GGMLQuantizationType.F16
        size = 4 if wide else 2
        for part in shape:
            size *= part
        total += size
        import numpy as np

        kind = np.dtype(np.float32 if dtype == gguf.GGMLQuantizationType.F32 else np.float16)
        w.add_tensor_info(name, shape, kind, size)

    small = kv * (hidden // heads)
    add("token_embd.weight", vocab, hidden)
    add("output_norm.weight", hidden)
    add("output.weight", vocab, hidden)
    for i in range(layers):
        p = f"blk.{i}."
        add(p + "attn_norm.weight", hidden)
        add(p + "ffn_norm.weight", hidden)
        add(p + "attn_q.weight", hidden, hidden)
        add(p + "attn_k.weight", small, hidden)
        add(p + "attn_v.weight", small, hidden)
        add(p + "attn_output.weight", hidden, hidden)
        add(p + "ffn_gate.weight", ffn, hidden)
        add(p + "ffn_up.weight", ffn, hidden)
        add(p + "ffn_down.weight", hidden, ffn)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_ti_data_to_file()
    file = w.fout[0]
    file.flush()
    start = -(-file.tell() // 32) * 32
    file.truncate(start + total + 32 * 12 * layers)
    file.close()
    return total
