"""Weights are the engines' own to the byte, and add up."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcore.api import ModelSpec, SpecError, find_model, spec_from_config, weigh
from mathcore.quant.families import LADDERS
from mathcore.quant.weights import QUANTS, Weights, quant_fault, tensor_sizes


def model(name: str) -> ModelSpec:
    spec = find_model(name)
    assert spec is not None
    return spec


def dense(**changes: object) -> ModelSpec:
    card: dict[str, object] = {
        "model_type": "llama",
        "vocab_size": 512,
        "hidden_size": 512,
        "num_hidden_layers": 9,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "intermediate_size": 1024,
        "tie_word_embeddings": False,
    }
    return spec_from_config({**card, **changes}, "m")


def sparse(**changes: object) -> ModelSpec:
    card: dict[str, object] = {
        "model_type": "qwen3_moe",
        "vocab_size": 512,
        "hidden_size": 512,
        "num_hidden_layers": 9,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "num_experts": 8,
        "intermediate_size": 1024,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 256,
    }
    return spec_from_config({**card, **changes}, "m")


# llama.cpp's own quantiser on Llama-3.1-8B; Q4_K_M is also the published file's tensor sum.
BYTES = {
    "F16": 16061055232,
    "Q8_0": 8532934912,
    "Q6_K": 6588170496,
    "Q5_K_M": 5725151488,
    "Q4_K_M": 4912898304,
    "Q4_0": 4653375744,
    "Q4_K_S": 4684833024,
}
# Bits per weight of Llama-3.1-8B in llama.cpp's tools/quantize/README.md.
BITS = {
    "IQ1_S": 2.0042,
    "IQ1_M": 2.1460,
    "IQ2_XXS": 2.3824,
    "IQ2_XS": 2.5882,
    "IQ2_S": 2.7403,
    "IQ2_M": 2.9294,
    "IQ3_XXS": 3.2548,
    "IQ3_XS": 3.4977,
    "IQ3_S": 3.6606,
    "IQ3_M": 3.7628,
    "IQ4_XS": 4.4597,
    "IQ4_NL": 4.6818,
    "Q2_K_S": 2.9697,
    "Q2_K": 3.1593,
    "Q3_K_S": 3.6429,
    "Q3_K_M": 3.9960,
    "Q3_K_L": 4.2979,
    "Q4_K_S": 4.6672,
    "Q4_K_M": 4.8944,
    "Q5_K_S": 5.5704,
    "Q5_K_M": 5.7036,
    "Q6_K": 6.5633,
    "Q8_0": 8.5008,
    "F16": 16.0005,
}


@pytest.mark.parametrize(("quant", "size"), list(BYTES.items()))
def test_llama_3_1_8b_weighs_what_llama_cpp_writes(quant: str, size: int) -> None:
    assert weigh(model("llama-3.1-8b"), quant).total_bytes == size


@pytest.mark.parametrize(("quant", "bits"), list(BITS.items()))
def test_llama_3_1_8b_has_the_bits_llama_cpp_publishes(quant: str, bits: float) -> None:
    spec = model("llama-3.1-8b")
    assert round(weigh(spec, quant).total_bytes * 8 / spec.parameters, 4) == bits


@pytest.mark.parametrize(
    ("name", "quant", "size"),
    [
        # As above for SmolLM2-135M, whose rows of 576 are no whole number of K blocks;
        # less the 128-byte rope table real files of this model do not have.
        ("smollm2-135m", "Q4_K_M", 103668480),
        ("smollm2-135m", "Q6_K", 136597248),
        ("smollm2-135m", "Q4_0", 89941248),
        # Experts, eight of them, latent attention, and rows of 2,880 that fit no K block.
        ("mixtral-8x7b", "Q4_K_M", 28447727616),
        ("mixtral-8x7b", "Q3_K_L", 24168906752),
        ("mixtral-8x7b", "IQ2_XS", 13922959360),
        ("mixtral-8x7b", "MXFP4_MOE", 25667715072),
        ("qwen3-30b-a3b", "Q4_K_M", 18550716416),
        ("qwen3-30b-a3b", "IQ2_XS", 9070252032),
        ("qwen3-30b-a3b", "MXFP4_MOE", 17076477952),
        ("deepseek-v3", "Q4_K_M", 404488847360),
        ("deepseek-v3", "Q3_K_L", 347509166592),
        ("gpt-oss-20b", "Q4_K_M", 15792128256),
        ("gpt-oss-20b", "Q3_K_L", 13322102016),
        ("gpt-oss-20b", "MXFP4_MOE", 12096558336),
    ],
)
def test_other_shapes_weigh_what_llama_cpp_writes(name: str, quant: str, size: int) -> None:
    assert weigh(model(name), quant).total_bytes == size


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("llama-2-7b", 6738415616),
        ("llama-2-13b", 13015864320),
        ("llama-2-70b", 68976648192),
        ("llama-3-8b", 8030261248),
        ("llama-3-70b", 70553706496),
        ("llama-3.1-405b", 405853388800),
        ("mistral-7b", 7241732096),
        ("qwen2.5-7b", 7615616512),
        ("qwen2.5-72b", 72706203648),
    ],
)
def test_parameters_are_the_published_counts(name: str, parameters: int) -> None:
    assert model(name).parameters == parameters


def test_a_tied_embedding_is_counted_once_in_ram_and_copied_to_a_gpu() -> None:
    weights = weigh(model("llama-3.2-1b"), "Q8_0")
    assert weights.device_bytes == weights.total_bytes
    heavy = weigh(model("llama-3-8b"), "Q8_0")
    table = 128256 * 4096 // 32 * 34
    assert heavy.total_bytes - heavy.device_bytes == heavy.embedding_bytes == table


def parts(weights: Weights) -> int:
    beside = 0 if weights.tied else weights.output_bytes
    return weights.embedding_bytes + beside + sum(weights.layer_bytes) + weights.other_bytes


@settings(max_examples=60, deadline=None)
@given(
    quant=st.sampled_from(sorted(QUANTS)),
    tied=st.booleans(),
    experts=st.booleans(),
    layers=st.integers(1, 20),
    heads=st.sampled_from([2, 4, 8]),
)
def test_parts_sum_to_the_total_whatever_the_quantisation(
    *, quant: str, tied: bool, experts: bool, layers: int, heads: int
) -> None:
    make = sparse if experts else dense
    spec = make(tie_word_embeddings=tied, num_hidden_layers=layers, num_key_value_heads=heads)
    weights = weigh(spec, quant)
    assert parts(weights) == weights.total_bytes == sum(tensor_sizes(spec, quant))
    assert 0 < weights.active_bytes <= weights.total_bytes
    assert all(
        routed <= layer
        for routed, layer in zip(weights.expert_bytes, weights.layer_bytes, strict=True)
    )
    assert (sum(weights.expert_bytes) > 0) == experts


# Each by falling bits. The second lot holds for rows of whole blocks only: of others llama.cpp
# stores Q4_K as Q5_0 but IQ4_XS as IQ4_NL, so its IQ3_M comes out above IQ4_XS.
ALWAYS = (
    ("F32", *LADDERS["gguf"][:5], "Q4_K_S"),
    ("Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0"),
    ("IQ1_M", "IQ1_S"),
    ("HF-F32", "HF-BF16", "FP8-BLOCK", "FP8"),
    ("MLX-16bit", "MLX-8bit", "MLX-6bit", "MLX-5bit", "MLX-4bit", "MLX-3bit", "MLX-2bit"),
)
OF_WHOLE_BLOCKS = (
    ("Q4_K_S", "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K_S"),
    ("IQ4_NL", "IQ4_XS", "IQ3_M", "IQ3_S", "IQ3_XS", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS"),
    ("HF-BF16", "GPTQ-INT8", "GPTQ-INT4-G32", "GPTQ-INT4-G64", "GPTQ-INT4", "AWQ", "W4A16"),
)


@settings(max_examples=30, deadline=None)
@given(
    tied=st.booleans(),
    experts=st.booleans(),
    layers=st.integers(1, 20),
    hidden=st.sampled_from([512, 576, 768, 1056]),
)
def test_more_bits_are_never_smaller(
    *, tied: bool, experts: bool, layers: int, hidden: int
) -> None:
    make = sparse if experts else dense
    spec = make(tie_word_embeddings=tied, num_hidden_layers=layers, hidden_size=hidden)
    for ladder in (*ALWAYS, *(OF_WHOLE_BLOCKS if hidden % 256 == 0 else ())):
        sizes = [weigh(spec, quant).total_bytes for quant in ladder]
        assert sizes == sorted(sizes, reverse=True), ladder


def test_only_the_experts_a_token_uses_are_read() -> None:
    spec = sparse()
    weights = weigh(spec, "F16")
    routed = sum(weights.expert_bytes)
    table = spec.vocab * spec.hidden * 2
    assert weights.active_bytes == weights.total_bytes - table - routed * 6 // 8


def test_an_untied_embedding_is_not_read_and_a_tied_one_is() -> None:
    table = 512 * 512 * 2
    untied, tied = weigh(dense(), "F16"), weigh(dense(tie_word_embeddings=True), "F16")
    assert untied.total_bytes - untied.active_bytes == table
    assert tied.active_bytes == tied.total_bytes == untied.active_bytes


def test_an_encoder_without_an_output_layer_leaves_its_embedding_on_the_host() -> None:
    card: dict[str, object] = {
        "model_type": "bert",
        "vocab_size": 30522,
        "hidden_size": 384,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
    }
    weights = weigh(spec_from_config(card, "bge-small"), "F16")
    tables = (30522 + 512 + 2) * 384 * 2
    assert weights.host_bytes == tables
    assert weights.device_bytes == weights.total_bytes - tables == weights.active_bytes


def test_an_unknown_quantisation_is_refused_by_name() -> None:
    with pytest.raises(SpecError, match="quant: unknown quantisation Q9_K: did you mean Q6_K"):
        weigh(dense(), "Q9_K")
    assert "Q9_K" in quant_fault(dense(), "Q9_K")
    assert "AWQ" in quant_fault(dense(), "AWQ", "gguf")
    assert not quant_fault(dense(), "AWQ")
