"""Taking a model in: what was verified survives every cut, and what was not never counts."""

import os
import random
from pathlib import Path

import pytest

from providers.models.identity import Part
from providers.models.incoming import (
    BadChunk,
    Chunk,
    Incoming,
    clear,
    taken_bytes,
    whole_model,
)
from providers.models.known import Known
from providers.models.manifest import Manifest, hash_chunks
from tests.providers.models.conftest import Write
from tests.providers.models.parts import identity_of_parts

pytestmark = pytest.mark.usefixtures("small_chunks")
SIZE = 3_000_000


class Sender:
    """A test double of another peer: the bytes of its files, and how many it sent."""

    def __init__(self, folder: Path, *paths: Path) -> None:
        self.parts = tuple(Part(name=one.name, path=one) for one in paths)
        self.manifest: Manifest = Known(folder / "known").manifest(self.parts)
        self.identity = identity_of_parts("m", self.parts)
        self.sent = 0

    def chunk(self, chunk: Chunk) -> memoryview:
        with self.parts[chunk.number].path.open("rb") as file:
            file.seek(chunk.offset)
            data = file.read(chunk.size)
        self.sent += len(data)
        return memoryview(data)


def receive(sender: Sender, folder: Path, most: int = 1 << 30) -> bool:
    """Take in at most so many chunks; True where that was all."""
    coming = Incoming(folder, sender.manifest)
    for chunk in [*coming.missing()]:
        if most <= 0:
            coming.close(durable=False)  # as a process that was killed leaves it
            return False
        coming.take(chunk, sender.chunk(chunk), "rig")
        most -= 1
    coming.finish()
    coming.seal(sender.identity)
    return True


def test_five_cuts_cost_at_most_seven_percent(tmp_path: Path, gguf: Write) -> None:
    sender = Sender(tmp_path, gguf(tmp_path / "m.gguf", SIZE))
    rng = random.Random(5)
    for _ in range(5):
        assert not receive(sender, tmp_path / "in", rng.randrange(2, 9))
    assert receive(sender, tmp_path / "in")
    assert (tmp_path / "in" / "m.gguf").read_bytes() == (tmp_path / "m.gguf").read_bytes()
    assert sender.sent <= 1.07 * SIZE
    assert sorted(one.name for one in (tmp_path / "in").iterdir()) == ["m.gguf", "model.json"]


def test_a_chunk_that_a_power_cut_took_is_fetched_again(tmp_path: Path, gguf: Write) -> None:
    """The file's size is there after a power cut, its last pages may not be."""
    sender = Sender(tmp_path, gguf(tmp_path / "m.gguf", SIZE))
    assert not receive(sender, tmp_path / "in", 6)
    with (tmp_path / "in" / "m.gguf.part").open("r+b") as file:
        file.seek(5 * 65_536)
        file.write(bytes(100))
    coming = Incoming(tmp_path / "in", sender.manifest)
    assert [one.index for one in coming.missing()][:2] == [5, 6]
    coming.close()
    assert receive(sender, tmp_path / "in")
    assert (tmp_path / "in" / "m.gguf").read_bytes() == (tmp_path / "m.gguf").read_bytes()


def test_a_map_without_its_part_is_worth_nothing(tmp_path: Path, gguf: Write) -> None:
    sender = Sender(tmp_path, gguf(tmp_path / "m.gguf", SIZE))
    assert not receive(sender, tmp_path / "in", 10)
    (tmp_path / "in" / "m.gguf.part").unlink()
    assert receive(sender, tmp_path / "in")
    assert (tmp_path / "in" / "m.gguf").read_bytes() == (tmp_path / "m.gguf").read_bytes()


def test_a_lying_sender_is_named_with_the_chunk(tmp_path: Path, gguf: Write) -> None:
    sender = Sender(tmp_path, gguf(tmp_path / "m.gguf", SIZE))
    coming = Incoming(tmp_path / "in", sender.manifest)
    chunks = [*coming.missing()]
    lie = bytearray(sender.chunk(chunks[3]))
    lie[-1] ^= 1
    with pytest.raises(BadChunk, match=r"chunk 3 of m\.gguf from rig"):
        coming.take(chunks[3], memoryview(lie), "rig")
    assert chunks[3] in [*coming.missing()]
    coming.close()


def test_zeros_are_not_asked_for_and_stay_a_hole(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF" + os.urandom(1000))
    os.truncate(path, 50_000_000)
    sender = Sender(tmp_path, path)
    assert receive(sender, tmp_path / "in")
    assert sender.sent == 65_536
    assert hash_chunks(tmp_path / "in" / "m.gguf", lambda _: None) == hash_chunks(
        path, lambda _: None
    )
    assert taken_bytes(tmp_path / "in") < 1_000_000


def test_several_files_are_one_model_and_whole_together(tmp_path: Path, gguf: Write) -> None:
    sender = Sender(tmp_path, gguf(tmp_path / "a.gguf", SIZE), gguf(tmp_path / "b.gguf", 70_000))
    assert not receive(sender, tmp_path / "in", 47)
    assert whole_model(tmp_path / "in") is None
    assert receive(sender, tmp_path / "in")
    whole = whole_model(tmp_path / "in")
    assert whole is not None
    assert whole[0] == sender.identity
    os.truncate(tmp_path / "in" / "b.gguf", 69_999)
    assert whole_model(tmp_path / "in") is None


def test_another_manifest_begins_anew(tmp_path: Path, gguf: Write) -> None:
    first = Sender(tmp_path, gguf(tmp_path / "m.gguf", SIZE))
    assert not receive(first, tmp_path / "in", 10)
    second = Sender(tmp_path, gguf(tmp_path / "m.gguf", SIZE))
    assert receive(second, tmp_path / "in")
    assert second.sent == SIZE


def test_a_link_in_the_way_is_never_written_through(tmp_path: Path, gguf: Write) -> None:
    sender = Sender(tmp_path, gguf(tmp_path / "m.gguf", SIZE))
    (tmp_path / "in").mkdir()
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / "in" / "m.gguf.part").symlink_to(precious)
    with pytest.raises(OSError, match=r"m\.gguf\.part"):
        receive(sender, tmp_path / "in")
    assert precious.read_text() == "mine"


def test_removing_takes_what_was_fetched_and_nothing_else(tmp_path: Path, gguf: Write) -> None:
    sender = Sender(tmp_path, gguf(tmp_path / "m.gguf", SIZE))
    assert receive(sender, tmp_path / "in")
    (tmp_path / "in" / "notes.txt").write_text("mine")
    (tmp_path / "elsewhere").write_text("mine too")
    (tmp_path / "in" / "m.gguf.map").symlink_to(tmp_path / "elsewhere")
    assert clear(tmp_path / "in") >= SIZE
    assert [one.name for one in (tmp_path / "in").iterdir()] == ["notes.txt"]
    assert (tmp_path / "elsewhere").read_text() == "mine too"
