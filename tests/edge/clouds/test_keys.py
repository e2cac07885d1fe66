"""A cloud's key is found in the environment or the keyring, and shown by nothing."""

import copy
import json
import pickle
import sys
from collections.abc import Iterator

import keyring
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keyring.backends import chainer, fail, null
from keyring.errors import KeyringLocked

from mesh.api.errors import RequestError
from mesh.edge.clouds import ring
from mesh.edge.clouds.keys import (
    PROVIDERS,
    Account,
    Key,
    find,
    find_all,
    forget,
    keep,
    provider_of,
    read_key,
)
from tests.edge.clouds.rings import MemoryRing

VAST, RUNPOD, LAMBDA = PROVIDERS
SECRET = "sk~0123456789abcdef"


@pytest.fixture
def memory() -> Iterator[MemoryRing]:
    kept = MemoryRing()
    keyring.set_keyring(kept)
    yield kept
    keyring.set_keyring(fail.Keyring())


def test_a_key_comes_from_the_environment_by_the_name_its_provider_gave_it() -> None:
    found = find(VAST, {"VAST_API_KEY": f" {SECRET}\n"})
    assert found.key == Key(SECRET)
    assert (found.source, found.where) == ("environment", "VAST_API_KEY")
    assert [one.variable for one in PROVIDERS] == [
        "VAST_API_KEY",
        "RUNPOD_API_KEY",
        "LAMBDA_API_KEY",
    ]


def test_a_key_that_was_kept_is_found_until_it_is_forgotten(memory: MemoryRing) -> None:
    assert find(RUNPOD, {}) == Account(provider=RUNPOD)
    assert keep(RUNPOD, Key(SECRET)) == "rings"
    found = find(RUNPOD, {})
    assert found.key == Key(SECRET)
    assert (found.source, found.where) == ("keyring", "rings")
    assert memory.kept == {("fleet-ledger", "runpod"): SECRET}
    assert find(VAST, {}).key is None
    assert forget(RUNPOD)
    assert not forget(RUNPOD)
    assert find(RUNPOD, {}).key is None


def test_the_environment_wins_over_the_keyring(memory: MemoryRing) -> None:
    keep(LAMBDA, Key(SECRET))
    found = find(LAMBDA, {"LAMBDA_API_KEY": "another-key"})
    assert (found.key, found.source) == (Key("another-key"), "environment")
    assert find(LAMBDA, {"LAMBDA_API_KEY": "  "}).source == "keyring"


@pytest.mark.parametrize(
    "said", ["short", "two words in it", "a\tb1234567", "x" * 513, "ключ12345"]
)
def test_what_can_be_no_key_is_not_used_and_not_quoted(said: str, memory: MemoryRing) -> None:
    found = find(VAST, {"VAST_API_KEY": said})
    assert found.key is None
    assert found.note == "what VAST_API_KEY holds is no key"
    memory.kept["fleet-ledger", "vastai"] = said
    assert find(VAST, {}).note == "what the keyring holds is no key"
    with pytest.raises(RequestError) as raised:
        read_key(said)
    assert said not in raised.value.text + raised.value.hint


def test_an_account_has_a_short_name_of_its_own_that_depends_on_key_and_provider() -> None:
    names = {
        Key(secret).account(one.name) for secret in (SECRET, SECRET + "x") for one in PROVIDERS
    }
    assert len(names) == 6
    assert all(len(name) == 10 and int(name, 16) >= 0 for name in names)
    assert Key(SECRET).account("vastai") == Key(SECRET).account("vastai")
    assert Account(provider=VAST).account == ""


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6))
def test_nothing_shows_a_key(text: str) -> None:
    secret = f"~{text}~"  # no word of ours has these signs
    key = Key(secret)
    account = Account(provider=VAST, key=key, source="environment", where="VAST_API_KEY")
    shown = [
        repr(key),
        str(key),
        f"{key}",
        f"{key} {key!r}",
        repr(account),
        repr({"k": key}),
    ]
    assert [text for text in shown if secret in text] == []
    for written in (json.dumps, pickle.dumps, copy.copy, copy.deepcopy, msgspec.json.encode):
        with pytest.raises(TypeError) as raised:
            written(key)
        assert secret not in str(raised.value)
    assert key.reveal() == secret


def test_keys_are_equal_by_their_secret_and_are_no_dictionarys_key() -> None:
    assert Key(SECRET) == Key(SECRET)
    assert Key(SECRET) != Key(SECRET + "x")
    assert Key(SECRET) != SECRET
    with pytest.raises(TypeError):
        hash(Key(SECRET))


def test_a_provider_is_known_by_what_people_call_it() -> None:
    assert provider_of("Vast.ai") == provider_of("vast") == VAST
    assert provider_of("lambda") == provider_of(" lambdalabs ") == LAMBDA
    assert provider_of("aws") is None


@pytest.mark.parametrize("backend", [fail.Keyring, null.Keyring])
def test_a_system_without_a_keyring_that_works_says_so(backend: type, memory: MemoryRing) -> None:
    keyring.set_keyring(backend())
    with pytest.raises(ring.NoKeyring, match="no keyring that works"):
        keep(VAST, Key(SECRET))
    assert {one.note for one in find_all({})} == {"this system has no keyring that works"}


def test_a_chain_of_keyrings_works_where_one_of_them_does(
    memory: MemoryRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = chainer.ChainerBackend
    keyring.set_keyring(chain())
    monkeypatch.setattr(chain, "backends", [])
    with pytest.raises(ring.NoKeyring):
        ring.name()
    monkeypatch.setattr(chain, "backends", [memory])
    assert keep(VAST, Key(SECRET)) == "chainer"


def test_a_missing_package_is_said_and_the_environment_works_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ring.NoKeyring) as raised:
        ring.name()
    assert raised.value.is_missing
    vast, runpod, _ = find_all({"VAST_API_KEY": SECRET})
    assert (vast.key, runpod.key) == (Key(SECRET), None)
    assert "without the package keyring" in runpod.note


@pytest.mark.parametrize("what", ["get", "set", "delete"])
@pytest.mark.parametrize("error", [KeyringLocked(SECRET), OSError(SECRET), ValueError(SECRET)])
def test_a_keyring_that_fails_is_not_quoted(
    what: str, error: Exception, memory: MemoryRing
) -> None:
    keep(VAST, Key(SECRET))
    memory.broken[what] = error
    steps = {"get": ring.get, "set": lambda name: ring.put(name, SECRET), "delete": ring.remove}
    with pytest.raises(ring.KeyringFailed) as raised:
        steps[what](VAST.name)
    assert SECRET not in raised.value.text + raised.value.hint + str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
    if what == "get":
        assert find(VAST, {}).key is None
        assert "keyring" in find(VAST, {}).note


def test_a_keyring_that_forgets_is_noticed(memory: MemoryRing) -> None:
    memory.forgets = True
    with pytest.raises(ring.KeyringFailed, match="does not have it"):
        keep(VAST, Key(SECRET))
