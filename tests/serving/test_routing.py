"""Which server answers: the one that is ready, has read most of the prompt, and waits least."""

import string

from hypothesis import given
from hypothesis import strategies as st

from mesh.serving import routing
from mesh.serving.routing import (
    BLOCK_CHARS,
    KEPT_S,
    MAX_BLOCKS,
    MAX_KNOWN,
    Memory,
    Option,
    blocks_of,
    in_order,
    is_called,
)

LONG = "".join(chr(ord("a") + n % 26) for n in range(5 * BLOCK_CHARS))


def option(job_id: str, *, ready: bool = True, **more: int) -> Option:
    return Option(job_id=job_id, owner="o", device_id="d", ready=ready, **more)


def order(options: list[Option], memory: Memory, prefix: str = LONG, context: int = 0) -> str:
    found = in_order(
        options, memory, prefix=prefix, blocks=blocks_of(prefix), context=context, now_s=0.0
    )
    return " ".join(one.job_id for one in found)


def test_prompts_share_the_pieces_they_begin_with() -> None:
    one, other = blocks_of(LONG), blocks_of(LONG[: 3 * BLOCK_CHARS] + "!" + LONG)
    assert len(one) == 5
    assert one[:3] == other[:3]
    assert not set(one[3:]) & set(other[3:])
    assert blocks_of("x" * (BLOCK_CHARS - 1)) == ()
    assert blocks_of(LONG + "x") == one
    assert len(blocks_of("x" * (MAX_BLOCKS + 9) * BLOCK_CHARS)) == MAX_BLOCKS


def test_a_server_that_read_a_prompt_is_asked_again_until_it_forgets() -> None:
    memory, blocks = Memory(), blocks_of(LONG)
    memory.sent("b", blocks, 0.0)
    assert (memory.shared("b", blocks, KEPT_S), memory.shared("a", blocks, 0.0)) == (5, 0)
    assert memory.shared("b", blocks, KEPT_S + 1) == 0
    assert order([option("a"), option("b")], memory) == "b a"
    memory.failed("b")
    assert order([option("a"), option("b")], memory) == "a b"


def test_a_long_wait_is_worth_reading_a_prompt_anew() -> None:
    memory = Memory()
    memory.sent("b", blocks_of(LONG), 0.0)
    assert order([option("a"), option("b", wait_ms=60_000)], memory) == "a b"


def test_who_is_ready_comes_before_who_is_not_and_a_small_context_never() -> None:
    loads, waits = option("a", ready=False), option("b", wait_ms=10**9)
    assert order([loads, waits], Memory()) == "b a"
    small, unknown = option("a", context=100), option("b")
    assert order([small, unknown], Memory(), context=101) == "b"
    assert order([small, unknown], Memory(), context=100) == "a b"


def test_the_faster_server_is_asked_as_soon_as_it_is_known() -> None:
    memory = Memory()
    memory.measured("b", BLOCK_CHARS, 10.0)
    memory.measured("a", BLOCK_CHARS - 1, 0.0)  # too short to tell
    assert order([option("a"), option("b")], memory) == "b a"
    for _ in range(20):
        memory.measured("b", BLOCK_CHARS, 10_000.0)
    assert order([option("a"), option("b")], memory) == "a b"


def test_what_is_remembered_is_bounded_and_goes_with_its_server() -> None:
    memory = Memory()
    for n in range(MAX_KNOWN + 50):
        memory.sent("a", (n.to_bytes(4, "big"),), 0.0)
    memory.measured("b", BLOCK_CHARS, 1.0)
    assert len(memory._seen["a"]) == MAX_KNOWN
    memory.keep(["c"])
    assert (memory._seen, memory._ms_per_char) == ({}, {})


def test_a_model_is_called_by_many_names() -> None:
    for name in ("Tiny", "tiny:latest", "hub/org/tiny.gguf", r"C:\models\TINY.GGUF", "tiny"):
        assert is_called(name, "tiny.gguf")
    assert not is_called("tiny2", "tiny.gguf")


numbers = st.integers(0, 1 << 42)
options = st.builds(
    Option,
    job_id=st.text(max_size=3),
    owner=st.text(max_size=3),
    device_id=st.text(max_size=3),
    ready=st.booleans(),
    wait_ms=numbers,
    context=numbers,
    link_ms=st.floats(0, 1e9),
)


@given(st.lists(options), st.text(string.printable + "é\ud800\x00"), numbers, st.floats(0, 1e12))
def test_whatever_peers_and_clients_say_there_is_an_order(
    given_options: list[Option], prefix: str, context: int, now_s: float
) -> None:
    memory, prompt = Memory(), prefix * 500
    blocks = blocks_of(prompt)
    for one in given_options:
        memory.sent(one.job_id, blocks, now_s)
        memory.measured(one.job_id, len(prompt), now_s)
    found = in_order(
        given_options, memory, prefix=prompt, blocks=blocks, context=context, now_s=now_s
    )
    assert all(one in given_options for one in found)
    assert all(not one.context or one.context >= context for one in found)
    ready = [one.ready for one in found]
    assert ready == sorted(ready, reverse=True)
    assert all(memory.shared(one.job_id, blocks, now_s) == len(blocks) for one in given_options)
    assert routing.plain_name(prefix) == routing.plain_name(routing.plain_name(prefix)) or prefix
