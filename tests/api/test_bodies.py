"""What an event may say of what was typed: a name, a size, and a hash that tells nothing."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.api.bodies import MAX_LABEL_CHARS, Body, base_name, canonical, label_of, seal

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
BODIES = st.builds(
    Body,
    prompt=TEXTS,
    model=TEXTS,
    command=st.lists(TEXTS, max_size=3).map(tuple),
    cwd=TEXTS,
    env=st.dictionaries(TEXTS, TEXTS, max_size=3),
)


@given(BODIES, BODIES, st.binary(min_size=16, max_size=16))
def test_a_seal_tells_any_two_bodies_apart(one: Body, other: Body, salt: bytes) -> None:
    assert (seal(one, salt) == seal(other, salt)) == (one == other)
    assert seal(one, salt).body_bytes == len(canonical(one))


def test_a_seal_is_blake2b_over_the_salt_and_the_canonical_body() -> None:
    body = Body(prompt="näh", model="/m.gguf")
    data = '{"model":"/m.gguf","prompt":"näh"}'.encode()
    assert canonical(body) == data
    wanted = hashlib.blake2b(b"s" * 16 + data, digest_size=32).hexdigest()
    assert seal(body, b"s" * 16).body_hash == wanted


def test_the_same_body_has_another_seal_each_time() -> None:
    """Else a guess at a short prompt could be checked against the ledger."""
    body = Body(prompt="yes")
    assert seal(body, b"a" * 16).body_hash != seal(body, b"b" * 16).body_hash


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("/home/ana/models/qwen3.gguf", "qwen3.gguf"),
        ("C:\\Users\\ana\\qwen3.gguf", "qwen3.gguf"),
        ("https://ana:sk-1@host.example/dir/qwen3.gguf?token=sk-2#sk-3", "qwen3.gguf"),
        ("/home/ana/models/qwen3/", "qwen3"),
        ("llama-3.1-8b", "llama-3.1-8b"),
        ("ollama:qwen3", "ollama:qwen3"),
        ("", ""),
    ],
)
def test_a_models_name_goes_without_its_folder_its_host_and_its_keys(
    reference: str, name: str
) -> None:
    assert base_name(reference) == name


def test_a_label_is_one_short_line() -> None:
    assert label_of(" nightly\n\trun ") == "nightly run"
    assert len(label_of("x" * 999)) == MAX_LABEL_CHARS
