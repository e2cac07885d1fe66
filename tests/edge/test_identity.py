"""A peer's key is one private file; its name survives being read aloud."""

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.edge import identity
from mesh.edge.disk import StoreError

AUTHORS = st.binary(min_size=32, max_size=32).map(bytes.hex)


def test_a_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    first = identity.load_or_create(tmp_path)
    assert identity.load_or_create(tmp_path) == first
    assert (tmp_path / "identity.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["identity.key"]
    assert first.seed.hex() not in repr(first)


def test_a_key_others_can_read_is_refused(tmp_path: Path) -> None:
    identity.load_or_create(tmp_path)
    (tmp_path / "identity.key").chmod(0o640)
    with pytest.raises(StoreError, match="mode 640") as error:
        identity.load_or_create(tmp_path)
    assert "chmod 600" in error.value.hint


@pytest.mark.parametrize("size", [0, 31, 33, 100_000])
def test_a_key_of_the_wrong_size_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "identity.key"
    path.write_bytes(bytes(size))
    path.chmod(0o600)
    with pytest.raises(StoreError, match=f"has {size} bytes, a key has 32"):
        identity.load_or_create(tmp_path)


def test_a_folder_in_place_of_the_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "identity.key").mkdir()
    with pytest.raises(StoreError, match="is not a file"):
        identity.load_or_create(tmp_path)


def test_a_missing_home_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        identity.load_or_create(tmp_path / "nowhere")


def test_an_existing_key_is_never_replaced(tmp_path: Path) -> None:
    kept = identity.load_or_create(tmp_path)
    identity._create(tmp_path / "identity.key", bytes(32))
    assert identity.load_or_create(tmp_path) == kept


@given(AUTHORS)
def test_a_peer_id_is_eight_groups_of_seven(author: str) -> None:
    name = identity.peer_id(author)
    assert [len(group) for group in name.split("-")] == [7] * 8
    assert identity.parse_peer_id(name.lower().replace("-", " ")) == name


@given(AUTHORS, st.integers(0, 62), st.sampled_from(string.ascii_uppercase + "234567"))
def test_any_one_mistyped_character_is_noticed(author: str, place: int, typed: str) -> None:
    name = identity.peer_id(author)
    wrong = name[:place] + typed + name[place + 1 :]
    if name[place] not in ("-", typed):
        with pytest.raises(ValueError, match="mistyped character in group"):
            identity.parse_peer_id(wrong)


@pytest.mark.parametrize(("text", "says"), [("ABC", "has 3"), ("0" * 56, "no character '0'")])
def test_what_is_no_peer_id_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        identity.parse_peer_id(text)
