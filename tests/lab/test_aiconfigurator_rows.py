"""A server's row as the question AIConfigurator is asked."""

import pytest

from scripts.lab.aiconfigurator_rows import (
    APART,
    MXFP4_KERNELS,
    arguments,
    estimate,
    kernels,
    meaning,
    split_of,
)


def row(notes: str, devices: int, source: str = "x", **changes: str) -> dict[str, str]:
    return {
        "model": "deepseek-ai/DeepSeek-R1",
        "quant": "fp4",
        "device": "b200_sxm",
        "engine": "trtllm",
        "prompt_tokens": "1024",
        "gen_tokens": "512",
        "batch": "64",
        "n_devices": str(devices),
        "notes": notes,
        "source": source,
        **changes,
    }


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (row("tp=4 pp=1 dp_attn=1 moe_tp=4 moe_ep=1", 4), (4, 1, 1, 4, 1)),
        (row("tp=8 pp=1 dp_attn= moe_tp=2 moe_ep=4", 8), (8, 1, 1, 2, 4)),
        (row("tp=2 pp=1 dp_attn=1 moe_tp=1 moe_ep=1", 2), (2, 1, 1, 2, 1)),
        # Sixty-four is eight devices said twice: as tensor and as expert parallelism.
        (row("tp=64 pp=1 dp_attn=1 moe_tp=8 moe_ep=8", 64, "r_tp8_ep8_1"), (8, 1, 1, 1, 8)),
        # Attention in four copies, experts over the four devices.
        (row("tp=4 pp=1 dp_attn=4 moe_tp=1 moe_ep=16", 16, "r_tp4_ep4_1"), (1, 1, 4, 1, 4)),
    ],
)
def test_a_split_is_that_of_the_devices_a_row_ran_on(
    given: dict[str, str], wanted: tuple[int, ...]
) -> None:
    assert tuple(split_of(given).values()) == wanted
    split = split_of(given)
    assert (
        split["tp_size"] * split["attention_dp_size"]
        == split["moe_tp_size"] * (split["moe_ep_size"])
    )


def test_each_copy_of_attention_has_its_share_of_the_requests() -> None:
    notes = "tp=1 pp=1 dp_attn=4 moe_tp=1 moe_ep=4 silicon_concurrency=64"
    assert arguments(row(notes, 4))["batch_size"] == 16


def test_a_model_is_asked_for_as_the_checkpoint_of_the_row_s_type() -> None:
    notes = "tp=4 pp=1 dp_attn=1 moe_tp=4 moe_ep=1"
    assert arguments(row(notes, 4))["model_path"] == "nvidia/DeepSeek-V3.1-NVFP4"
    assert arguments(row(notes, 4, quant="fp8"))["model_path"] == "deepseek-ai/DeepSeek-R1"


def test_it_is_given_the_kernels_the_server_ran_before_its_own_choice() -> None:
    said = kernels(row("tp=4 gemm=fp8 moe=fp8_block; x", 4))
    assert said == [{"gemm_quant_mode": "fp8", "moe_quant_mode": "fp8_block"}, {}]
    assert kernels(row("tp=4 gemm=nvfp4 moe=nvfp4; x", 4)) == [{}]
    assert kernels(row("tp=4", 4, model="openai/gpt-oss-120b"))[0] == MXFP4_KERNELS


def test_rows_with_prompts_on_other_cards_are_not_asked() -> None:
    assert estimate(row("tp=36 pp=1 dp_attn=1 moe_tp=36 moe_ep=1", 36)) == ("", APART)


def test_reasons_are_few() -> None:
    assert meaning("RuntimeError: OOM: the model …") == "does not fit the cards, it says"
    assert meaning("PerfDataNotAvailableError: x") == "its tables lack a kernel"
    assert meaning("ValueError: something else") == "ValueError: something else"
