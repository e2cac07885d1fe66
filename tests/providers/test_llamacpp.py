"""llama.cpp's words, recorded from real runs, as bytes."""

from hypothesis import given
from hypothesis import strategies as st

from providers.engine import llamacpp

MIB = 1024 * 1024
CPU_RUN = """\
0.00.007.435 I llama_model_loader: - kv  12:                           llama.vocab_size u32 = 384
0.00.007.680 I print_info: file size   = 1.63 MiB (16.02 BPW)
0.00.008.630 I load_tensors:   CPU_Mapped model buffer size =     1.63 MiB
0.00.008.881 I llama_context:        CPU  output buffer size =     0.00 MiB
0.00.008.922 I llama_kv_cache:        CPU KV buffer size =     1.00 MiB
0.00.009.300 I llama_kv_cache: size =    1.00 MiB (  1024 cells,   4 layers,  2/2 seqs), K (f16)
0.00.010.243 I sched_reserve:        CPU compute buffer size =     4.52 MiB
0.00.011.763 I srv    load_model: prompt cache is enabled, size limit: 8192 MiB
"""


def test_a_recorded_cpu_run_is_read_to_the_hundredth_of_a_mib() -> None:
    memory = llamacpp.parse_memory(CPU_RUN)
    assert memory.weights_bytes == 163 * MIB // 100
    assert memory.kv_bytes == MIB
    assert memory.compute_bytes == 452 * MIB // 100
    assert memory.state_bytes == 0
    assert set(memory.backends) == {"CPU_Mapped", "CPU"}
    assert memory.backends["CPU"] == MIB + 452 * MIB // 100


def test_every_backend_of_a_split_model_counts() -> None:
    log = (
        "load_tensors:        CUDA0 model buffer size = 18821.00 MiB\n"
        "load_tensors:        CUDA1 model buffer size = 18467.50 MiB\n"
        "llama_kv_cache:      CUDA0 KV buffer size =  1312.00 MiB\n"
        "llama_kv_cache:      CUDA1 KV buffer size =  1248.00 MiB\n"
        "llama_memory_recurrent: CUDA0 RS buffer size = 37.97 MiB\n"
    )
    memory = llamacpp.parse_memory(log)
    assert memory.weights_bytes == (18821 + 18467) * MIB + MIB // 2
    assert memory.kv_bytes == 2560 * MIB
    assert memory.state_bytes == 3797 * MIB // 100
    assert memory.backends["CUDA0"] == (18821 + 1312) * MIB + 3797 * MIB // 100


@given(st.text())
def test_any_text_is_read_without_complaint(log: str) -> None:
    assert llamacpp.parse_memory(log).weights_bytes >= 0


def test_the_context_of_a_launch_is_per_sequence_and_given_in_total() -> None:
    launch = llamacpp.launch(
        job_id="j",
        attempt=1,
        python="python3",
        model_path="m.gguf",
        tokens=8,
        context=2048,
        batch=4,
    )
    assert launch.spec["context_total"] == 8192
    assert launch.spec["parallel"] == 4
    assert launch.argv == ("python3", "-m", "providers.engine_child.llamacpp")
    assert launch.env["GGML_NO_BACKTRACE"] == "1"


def test_an_error_behind_progress_dots_is_still_the_first_one() -> None:
    log = "0.00.001 I load\n....0.00.004.355 E init: block size 32\n0.00.005 E srv: exiting\n"
    assert llamacpp.reason(log) == "init: block size 32"
