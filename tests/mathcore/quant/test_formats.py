"""Formats of the safetensors engines and of MLX weigh what their publishers' files hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.api import ModelSpec, SpecError, find_model, weigh
from mathcore.model.spec import Tensor
from mathcore.quant.formats import FORMATS, QUANTS, matrix_bytes
from mathcore.quant.gguf_tables import MIXES
from mathcore.quant.weights import tensor_sizes
from tests.mathcore.quant.test_weights import dense, sparse


@pytest.mark.parametrize(
    ("name", "quant", "size"),
    [
        # total_size of openai/gpt-oss-20b's and -120b's model.safetensors.index.json
        ("gpt-oss-20b", "MXFP4", 13761264768),
        ("gpt-oss-120b", "MXFP4", 65248815744),
        # mlx-community's conversions, whose bytes exo's model cards hold
        ("smollm2-135m", "MLX-8bit", 142955136),
        ("llama-3.2-1b", "MLX-4bit", 695242752),
        ("llama-3.2-3b", "MLX-4bit", 1807423488),
        ("llama-3.1-8b", "MLX-4bit", 4517404672),
        ("llama-3.3-70b", "MLX-4bit", 39688355840),
        ("qwen3-30b-a3b", "MLX-4bit", 17180913664),
        ("qwen3-next-80b-a3b", "MLX-4bit", 44844060160),
        ("glm-4.7-flash", "MLX-4bit", 16852202496),
        ("glm-4.7", "MLX-8bit-g32", 396963397248),
        ("gpt-oss-20b", "MLX-mxfp4-q8", 12076119168),
    ],
)
def test_a_published_conversion_weighs_its_files(name: str, quant: str, size: int) -> None:
    spec = find_model(name)
    assert spec is not None
    assert weigh(spec, quant).total_bytes == size


@pytest.mark.parametrize(
    ("quant", "bits"),
    # The layouts' own arithmetic, for a matrix of 4096 x 4096.
    [
        ("HF-BF16", 16),
        ("FP8", 8),
        ("FP8-BLOCK", 8 + 32 / 16384),
        ("AWQ", 4 + 20 / 128),
        ("AWQ-G64", 4 + 20 / 64),
        ("AWQ-G32", 4 + 20 / 32),
        ("GPTQ-INT4", 4 + 20 / 128 + 32 / 4096),
        ("W4A16", 4 + 16 / 128),
        ("NF4", 4 + 32 / 64),
        ("NF4-DQ", 4 + 8 / 64 + 32 / 16384),
        ("MXFP4", 4 + 8 / 32),
        ("NVFP4", 4 + 8 / 16),
        ("MXFP8", 8 + 8 / 32),
        ("MLX-4bit", 4 + 32 / 64),
        ("MLX-3bit", 3 + 32 / 64),
        ("MLX-mxfp4", 4 + 8 / 32),
        ("MLX-nvfp4", 4 + 8 / 16),
    ],
)
def test_bits_per_weight_are_the_layouts(quant: str, bits: float) -> None:
    matrix = Tensor(name="blk.0.attn_q.weight", columns=4096, rows=4096, dims=2, layer=0)
    of_matrix = 16  # bytes of scales of a whole matrix, at most
    size = matrix_bytes(matrix, FORMATS[quant])
    assert 0 <= size - bits * 4096 * 4096 / 8 <= of_matrix


@given(
    quant=st.sampled_from(sorted(FORMATS)),
    columns=st.integers(1, 512),
    rows=st.integers(1, 300),
    experts=st.integers(1, 8),
)
def test_stacked_experts_weigh_as_many_times_one(
    quant: str, columns: int, rows: int, experts: int
) -> None:
    form = FORMATS[quant]
    one = Tensor(name="w.weight", columns=columns * 128, rows=rows, dims=2)
    many = Tensor(
        name="w.weight", columns=columns * 128, rows=rows * experts, dims=3, experts=experts
    )
    assert matrix_bytes(many, form) == experts * matrix_bytes(one, form)


def sizes(spec: ModelSpec, quant: str) -> dict[str, int]:
    found = tensor_sizes(spec, quant)
    return {tensor.name: size for tensor, size in zip(spec.tensors, found, strict=True)}


def test_embeddings_output_norms_and_routers_stay_in_16_bits_but_not_in_mlx() -> None:
    table = 512 * 512
    for quant in ("AWQ", "FP8", "NF4", "NVFP4"):
        found = sizes(sparse(), quant)
        assert found["token_embd.weight"] == found["output.weight"] == 2 * table
        assert found["blk.0.ffn_gate_inp.weight"] == 2 * 512 * 8
        assert found["output_norm.weight"] == 2 * 512
        assert found["blk.0.attn_q.weight"] < 2 * table
    found = sizes(sparse(), "MLX-4bit")
    assert found["token_embd.weight"] == found["output.weight"] == table * 9 // 16
    assert found["blk.0.ffn_gate_inp.weight"] == 512 * 8 * 17 // 16
    assert found["output_norm.weight"] == 2 * 512


def test_mxfp4_holds_experts_only_or_all_of_a_dense_model() -> None:
    routed, plain = sizes(sparse(), "MXFP4"), sizes(dense(), "MXFP4")
    assert routed["blk.0.attn_q.weight"] == 512 * 512 * 2
    assert plain["blk.0.attn_q.weight"] == 512 * 512 * 17 // 32
    assert routed["blk.0.ffn_up_exps.weight"] == 8 * 512 * 256 * 17 // 32


def test_draft_layers_are_not_loaded() -> None:
    spec = find_model("deepseek-v3")
    assert spec is not None
    for tensor, size in zip(spec.tensors, tensor_sizes(spec, "FP8-BLOCK"), strict=True):
        assert (size == 0) == (tensor.layer >= len(spec.layers) - spec.draft_layers)


def test_rows_that_are_no_whole_groups_are_refused_by_name_or_left_alone() -> None:
    spec = dense(hidden_size=480)
    with pytest.raises(SpecError, match=r"blk.0.attn_q.weight: rows of 480 .* groups of 128"):
        weigh(spec, "AWQ")
    # mlx-lm skips them: 480 is no multiple of 64, 1024 (the feed-forward) is.
    found = dict(zip((t.name for t in spec.tensors), tensor_sizes(spec, "MLX-4bit"), strict=True))
    assert found["blk.0.ffn_up.weight"] == 480 * 1024 * 2
    assert found["blk.0.ffn_down.weight"] == 480 * 1024 * 9 // 16


def test_every_name_has_one_family() -> None:
    assert set(QUANTS.values()) == {"gguf", "safetensors", "mlx"}
    assert len(QUANTS) == len(FORMATS) + len(MIXES)
