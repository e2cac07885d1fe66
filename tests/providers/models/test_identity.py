"""What a model is: the same content is the same model, whatever it is called."""

import os
from pathlib import Path

import pytest

from providers.base import ModelError
from providers.models import identity, manifest
from providers.models.hashing import Hasher
from providers.models.identity import (
    Changed,
    ModelIdentity,
    Part,
    identity_from_json,
    is_plain_name,
    quick_hash_of_file,
    sample_offsets,
)
from providers.models.known import Known
from providers.models.manifest import (
    chunk_count,
    hash_chunks,
    is_hole,
    manifest_from_json,
    manifest_of,
    zeros_hash,
)
from tests.providers.models.conftest import Write
from tests.providers.models.parts import identity_of_parts


def of(name: str, *paths: Path) -> ModelIdentity:
    return identity_of_parts(name, [Part(name=one.name, path=one) for one in paths])


def test_a_copy_under_another_name_is_the_same_model(tmp_path: Path, gguf: Write) -> None:
    first = gguf(tmp_path / "a.gguf")
    again = gguf(tmp_path / "b.gguf", fill=first.read_bytes()[4:])
    assert of("one", first).quick_hash == of("two", again).quick_hash
    assert of("one", first).quick_hash != of("two", gguf(tmp_path / "c.gguf")).quick_hash


def test_a_single_byte_changed_in_what_is_read_is_another_model(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF" + bytes(300_000))
    before = quick_hash_of_file(path)
    for at in (5, 150_000, 300_003):
        with path.open("r+b") as file:
            file.seek(at)
            file.write(b"x")
        after = quick_hash_of_file(path)
        assert after != before
        before = after


def test_one_more_byte_of_zeros_is_another_model(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    before = quick_hash_of_file(path)
    os.truncate(path, 105)
    assert quick_hash_of_file(path) != before


def test_the_names_of_a_folder_s_files_are_content_and_those_of_a_gguf_s_parts_are_not(
    tmp_path: Path, gguf: Write
) -> None:
    a, b = gguf(tmp_path / "m-00001-of-00002.gguf"), gguf(tmp_path / "m-00002-of-00002.gguf")
    c, d = tmp_path / "n-00001-of-00002.gguf", tmp_path / "n-00002-of-00002.gguf"
    c.write_bytes(a.read_bytes())
    d.write_bytes(b.read_bytes())
    assert of("m", a, b).quick_hash == of("n", c, d).quick_hash
    assert of("m", a, b).quick_hash != of("m", b, a).quick_hash
    e, f = tmp_path / "vocab.json", tmp_path / "merges.txt"
    e.write_bytes(b"1")
    f.write_bytes(b"1")
    assert of("x", a, e).quick_hash != of("x", a, f).quick_hash


def test_samples_reach_from_the_first_byte_to_the_last() -> None:
    offsets = sample_offsets(40_000_000_000)
    assert (len(offsets), offsets[0], offsets[-1]) == (64, 0, 40_000_000_000 - 65_536)
    assert sample_offsets(10) == [0] * 64


def test_a_file_that_grows_while_it_is_read_is_said_and_not_remembered(
    tmp_path: Path, gguf: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = gguf(tmp_path / "m.gguf")

    class Growing:
        def __init__(self, data: bytes = b"") -> None:
            self._real = Hasher(data)

        def update(self, data: bytes) -> None:
            with path.open("ab") as file:
                file.write(b"more")
            self._real.update(data)

        def digest(self) -> str:
            return self._real.digest()

    monkeypatch.setattr(identity, "Hasher", Growing)
    with pytest.raises(Changed, match="m.gguf changed"):
        Known(tmp_path / "known").quick(path)
    assert not [*(tmp_path / "known").iterdir()]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.gguf")
    with pytest.raises(ModelError, match="no regular file"):
        quick_hash_of_file(tmp_path / "m.gguf")


def test_what_is_known_of_a_file_is_read_once_until_it_changes(
    tmp_path: Path, gguf: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, known = gguf(tmp_path / "m.gguf"), Known(tmp_path / "known")
    parts = (Part(name="m.gguf", path=path),)
    made = known.manifest(parts)
    assert known.identity("m", parts).root == made.root
    for module, name in (("identity", "quick_hash_of_file"), ("manifest", "hash_chunks")):
        monkeypatch.setattr(f"providers.models.known.{name}", None)
        assert module
    again = Known(tmp_path / "known")
    assert again.manifest(parts) == made
    assert again.identity("m", parts).root == made.root
    os.utime(path, ns=(1, 1))
    assert again.manifest_if_known(parts) is None


def test_a_damaged_memory_is_only_made_again(tmp_path: Path, gguf: Write) -> None:
    path, known = gguf(tmp_path / "m.gguf"), Known(tmp_path / "known")
    quick = known.quick(path)
    for one in (tmp_path / "known").iterdir():
        one.write_text('{"key": 3, "quick": [')
    assert known.quick(path) == quick


@pytest.mark.usefixtures("small_chunks")
def test_holes_are_not_read_and_hash_as_the_zeros_they_are(tmp_path: Path) -> None:
    sparse, full = tmp_path / "s.gguf", tmp_path / "f.gguf"
    sparse.write_bytes(b"GGUF" + b"x" * 100)
    os.truncate(sparse, 1_000_000)
    full.write_bytes(sparse.read_bytes())
    found = hash_chunks(sparse, lambda _: None)
    assert found == hash_chunks(full, lambda _: None)
    with sparse.open("rb") as file:
        assert is_hole(file.fileno(), 500_000, 100_000)
        assert not is_hole(file.fileno(), 0, 100_000)
    assert found[-2] == zeros_hash(manifest.CHUNK_BYTES)


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "a\\b", ".hidden", "CON.gguf", "a:b", "x\n", " x", "x.part", "", "x."]
)
def test_no_name_from_elsewhere_leaves_its_folder(name: str) -> None:
    assert not is_plain_name(name)
    good = {"name": "m", "size_bytes": 1, "quick_hash": "0" * 32}
    with pytest.raises(ValueError, match="no name"):
        identity_from_json({**good, "files": [{"name": name, "size_bytes": 1}]})


@pytest.mark.parametrize(
    "change",
    [
        {"name": "x" * 300},
        {"name": "a\x1b[31m"},
        {"quick_hash": "../../etc"},
        {"size_bytes": 2},
        {"size_bytes": True},
        {"files": []},
        {"files": "m.gguf"},
        {"files": [{"name": "m.gguf", "size_bytes": -1}]},
        {"files": [{"name": "m.gguf", "size_bytes": 1 << 60}]},
        {"files": [{"name": "m.gguf", "size_bytes": 1}, {"name": "M.gguf", "size_bytes": 0}]},
        {"root": "abc"},
    ],
)
def test_an_identity_that_does_not_add_up_is_refused(change: dict[str, object]) -> None:
    good = {
        "name": "m",
        "size_bytes": 1,
        "quick_hash": "0" * 32,
        "files": [{"name": "m.gguf", "size_bytes": 1}],
    }
    assert identity_from_json(good).to_json() == {**good, "root": ""}
    with pytest.raises(ValueError, match=r"model|name|size"):
        identity_from_json({**good, **change})


def test_a_manifest_is_believed_only_if_it_adds_up(tmp_path: Path, gguf: Write) -> None:
    known = Known(tmp_path / "known")
    made = known.manifest((Part(name="m.gguf", path=gguf(tmp_path / "m.gguf")),))
    good = made.to_json()
    assert manifest_from_json(good) == made
    file = good["files"][0]  # type: ignore[index]
    for bad in (
        {**good, "chunk_bytes": 1},
        {**good, "root": "0" * 64},
        {**good, "files": [{**file, "hashes": []}]},
        {**good, "files": [{**file, "hashes": ["0" * 64]}]},
        {**good, "files": [{**file, "hashes": [3]}]},
        [],
        None,
    ):
        with pytest.raises(ValueError, match=r"manifest|chunks|hash"):
            manifest_from_json(bad)


def test_chunks_cover_a_file_exactly() -> None:
    size = 2 * manifest.CHUNK_BYTES + 5
    assert chunk_count(size) == 3
    assert manifest.chunk_size(size, 2) == 5
    assert (chunk_count(0), manifest_of([]).size_bytes) == (0, 0)
