"""What each engine is told: from the plan, as words and never as a line for a shell."""

import string
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from providers.engine import llama_server, mlx, ollama, tgi, vllm
from providers.engine.devices import selection
from providers.engine.servers import SERVERS
from providers.engine.setup import (
    LEAST_READY_S,
    LOAD_FACTOR,
    UNKNOWN_READY_S,
    Setup,
    last_error,
    launch,
    ready_limit_s,
    safe_name,
    setup_of,
)
from providers.engine_child.engine_process import libraries_beside, listener_uid
from providers.engine_child.llama_server import options
from tests.support.nasty import NASTY

ONE = Setup(
    engine="llama.cpp", model_path="/m", name="m", context=4096, parallel=3, vendor="nvidia"
)
TWO = replace(ONE, cards=("2", "5"), split="tensor", kv_type="q8_0")


def value(words: tuple[str, ...], name: str) -> str:
    return words[words.index(name) + 1]


def test_llama_server_gets_the_whole_context_and_its_layers_and_cards() -> None:
    words = llama_server.argv(replace(TWO, gpu_layers=20, cpu_experts=7, tensor_split=(3, 1)), 8080)
    assert value(words, "--ctx-size") == "12288"
    assert value(words, "--parallel") == "3"
    assert value(words, "--n-gpu-layers") == "20"
    assert value(words, "--n-cpu-moe") == "7"
    assert value(words, "--split-mode") == "row"
    assert value(words, "--tensor-split") == "3,1"
    assert value(words, "--cache-type-v") == "q8_0"
    assert value(words, "--host") == "127.0.0.1"
    assert value(llama_server.argv(ONE, 1), "--n-gpu-layers") == "999"
    assert value(llama_server.argv(replace(ONE, vendor=""), 1), "--n-gpu-layers") == "0"


def test_the_wheels_program_takes_exactly_what_llama_server_is_told() -> None:
    words = llama_server.argv(replace(TWO, cpu_experts=7, threads=4, tensor_split=(3, 1)), 8080)
    asked = options(list(words))
    assert (asked.model, asked.port, asked.n_cpu_moe, asked.threads) == ("/m", 8080, 7, 4)
    assert asked.tensor_split == [3.0, 1.0]


def test_a_model_for_embeddings_reads_a_text_in_one_pass() -> None:
    words = llama_server.argv(replace(ONE, embeddings=True), 8080)
    asked = options(list(words))
    assert asked.embeddings
    assert asked.batch_size == asked.ubatch_size == ONE.context
    longest = options(list(llama_server.argv(replace(ONE, embeddings=True, context=1 << 20), 1)))
    assert longest.ubatch_size == llama_server.LONGEST_TEXT
    short = options(list(llama_server.argv(replace(ONE, embeddings=True, context=64), 1)))
    assert short.ubatch_size == llama_server.LEAST_PASS
    usual = options(list(llama_server.argv(ONE, 1)))
    assert not usual.embeddings
    assert usual.ubatch_size == 0


def test_vllm_splits_over_cards_as_the_plan_does() -> None:
    assert "--tensor-parallel-size=2" in vllm.argv(replace(TWO, kv_type="fp8"), 1)
    assert "--pipeline-parallel-size=2" in vllm.argv(replace(TWO, split="layer", kv_type="f16"), 1)
    assert "--kv-cache-dtype=fp8" in vllm.argv(replace(TWO, kv_type="fp8"), 1)
    assert not any("parallel-size" in word for word in vllm.argv(ONE, 1))
    processor = replace(ONE, vendor="", kv_bytes=(5 << 30) + 1)
    assert vllm.env(processor, 1, "k")["VLLM_CPU_KVCACHE_SPACE"] == "6"


def test_tgi_and_mlx_and_ollama_are_told_the_same_plan_in_their_own_words() -> None:
    words = tgi.argv(replace(TWO, kv_type="fp8"), 1)
    assert {"--num-shard=2", "--max-total-tokens=4096", "--kv-cache-dtype=fp8_e4m3fn"} <= set(words)
    assert "--kv-bits=8" in mlx.argv(replace(TWO, vendor="apple"), 1)
    env = ollama.env(TWO, 7, "")
    assert env["OLLAMA_HOST"] == "127.0.0.1:7"
    assert (env["OLLAMA_KV_CACHE_TYPE"], env["OLLAMA_FLASH_ATTENTION"]) == ("q8_0", "1")
    assert env["OLLAMA_SCHED_SPREAD"] == "1"
    assert ollama.options(replace(ONE, gpu_layers=5)) == {"num_ctx": 4096, "num_gpu": 5}
    assert ollama.options(replace(ONE, vendor=""))["num_gpu"] == 0


CHOSEN = [
    ("nvidia", ("2", "5"), {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "2,5"}),
    (
        "nvidia",
        ("GPU-5a-1",),
        {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "GPU-5a-1"},
    ),
    ("amd", ("1",), {"HIP_VISIBLE_DEVICES": "1"}),
    ("amd", ("GPU-1f", "GPU-2e"), {"ROCR_VISIBLE_DEVICES": "GPU-1f,GPU-2e"}),
    ("intel", ("0", "1"), {"ONEAPI_DEVICE_SELECTOR": "level_zero:0,1"}),
    ("apple", (), {}),
    ("", (), {"CUDA_VISIBLE_DEVICES": "-1", "HIP_VISIBLE_DEVICES": "-1"}),
]


@pytest.mark.parametrize(("vendor", "cards", "env"), CHOSEN)
def test_an_engine_sees_its_own_cards_alone(vendor: str, cards: tuple[str, ...], env: dict) -> None:
    assert selection(vendor, cards) == env


@pytest.mark.parametrize("text", [one for one in NASTY if set(one) - set(string.hexdigits + "-")])
def test_what_is_no_card_selects_none(text: str) -> None:
    if set(text) <= set(string.ascii_letters + string.digits + "-/:."):
        return  # no shell reads it: a runtime finds no such card
    with pytest.raises(ValueError, match="is no card"):
        selection("nvidia", ("0", text))


@pytest.mark.parametrize("engine", list(SERVERS))
def test_nasty_models_and_names_stay_one_word_each(engine: str) -> None:
    """argparse, as vLLM, MLX and TGI's clap, takes what follows "=" as it is."""
    for text in NASTY:
        setup = replace(ONE, engine=engine, model_path=f"/models/{text}", name=safe_name(text))
        plain = replace(ONE, engine=engine, model_path="/models/m", name="m")
        words, usual = SERVERS[engine].argv(setup, 1), SERVERS[engine].argv(plain, 1)
        assert len(words) == len(usual)
        for one, other in zip(words, usual, strict=True):
            assert one == other or f"/models/{text}" in one or safe_name(text) in one


def test_a_name_is_one_line_that_no_option_is_read_from() -> None:
    for text in NASTY:
        name = safe_name(text)
        assert name
        assert not name.startswith("-")
        assert name.isprintable()
        assert not set(name) & set(",=")


def test_a_setup_comes_back_from_its_spec_as_it_was() -> None:
    made = launch(TWO, job_id="j", attempt=1, python="python", task="lines", work={"tokens": 1})
    assert setup_of(made.spec) == TWO
    assert made.cards == ("2", "5")
    assert setup_of({"setup": asdict(TWO) | {"newer": 1}}) == TWO
    with pytest.raises(ValueError, match="no setup"):
        setup_of({})


def test_an_engine_has_four_times_its_predicted_load_to_be_ready() -> None:
    assert ready_limit_s(replace(ONE, load_p90_ms=100_000)) == LOAD_FACTOR * 100
    assert ready_limit_s(replace(ONE, load_p90_ms=1)) == LEAST_READY_S
    assert ready_limit_s(ONE) == UNKNOWN_READY_S


def test_why_an_engine_in_python_ended_is_its_last_exception() -> None:
    log = "Traceback\nValueError: first\n(EngineCore pid=7) RuntimeError: no room\nbye"
    assert last_error(log) == "RuntimeError: no room"
    assert last_error("all well") == ""


def test_vllm_says_its_cache_and_its_weights() -> None:
    page = 'vllm:cache_config_info{block_size="128",kv_cache_memory_bytes="1073741824"} 1.0\n'
    found = vllm.memory("Model loading took 1.50 GiB memory and 2 seconds", page)
    assert (found.kv_bytes, found.weights_bytes) == (1 << 30, 3 << 29)


TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1 0 100
   1: 0100007F:1F91 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     7        0 2 1 0 20
"""


def test_whose_a_listening_port_is_stands_in_the_kernels_table() -> None:
    assert listener_uid(TABLE, 0x1F90) == 1000
    assert listener_uid(TABLE, 0x1F91) is None  # connected, not listening
    assert listener_uid("", 1) is None


def test_no_module_of_engines_starts_a_shell() -> None:
    found = subprocess.run(
        ["grep", "-rlE", r"shell=True|os\.system|os\.popen|getoutput", "providers", "mesh"],
        capture_output=True,
        text=True,
    )
    assert found.stdout == ""


def test_an_engines_own_libraries_are_looked_for_beside_it_and_last_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "llama-server"
    assert libraries_beside(str(program)) == {}, "one of a system finds its own"
    (tmp_path / "libllama-common.so.0").write_text("")
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    assert libraries_beside(str(program)) == {"LD_LIBRARY_PATH": str(tmp_path)}
    monkeypatch.setenv("LD_LIBRARY_PATH", "/usr/local/nvidia/lib64")
    assert libraries_beside(str(program)) == {
        "LD_LIBRARY_PATH": f"/usr/local/nvidia/lib64:{tmp_path}"
    }
