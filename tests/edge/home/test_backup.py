"""A backup is whole, private and verified before it is put in place; nothing is written over."""

import errno
import gzip
import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from mesh.edge.disk import LedgerBusy, StoreError
from mesh.edge.home import archive
from mesh.edge.home.backup import save, save_to
from mesh.edge.home.restore import restore
from mesh.edge.identity import Fleet, fleet_of, join_fleet, load_or_create
from mesh.edge.signing.hearing import NotHeard
from mesh.edge.signing.highwater import HighWater, sign_at_rest
from mesh.edge.signing.restored import was_restored
from mesh.edge.store.ledger import Ledger, Reader
from mesh.ledger.gate import Accept
from mesh.sync.manifest import Tip
from tests.edge.store.events import NOW, line

GENESIS = "0" * 64
FLEET = Fleet(root="ab" * 32, founding="cd", introducer="ef" * 32, tls="01", role="runner")


def note(home: Path, *texts: str) -> None:
    with Ledger.open(home) as ledger:
        for text in texts:
            sign_at_rest(ledger, "note_added", "", {"text": text}, NOW)


def notes(home: Path) -> list[object]:
    reader = Reader.open(home)
    try:
        return [event.payload["text"] for _, event in reader.events()]
    finally:
        reader.close()


def names(path: Path) -> set[str]:
    return {one.name for one in path.iterdir()}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A member with settings, some own events and somebody else's."""
    found = tmp_path / "home"
    note(found, "one", "two")
    join_fleet(found, FLEET)
    (found / "fleet.toml").write_text('name = "rig"\n')
    (found / "token").write_text("of this moment")
    (found / "jobs").mkdir()
    return found


@pytest.fixture
def saved(home: Path, tmp_path: Path) -> Path:
    save_to(home, tmp_path / "backup.tar", NOW, with_key=True)
    return tmp_path / "backup.tar"


def test_what_was_backed_up_comes_back_and_no_more(home: Path, saved: Path, tmp_path: Path) -> None:
    done = restore(tmp_path / "new", saved)
    assert (done.events, done.made_ms, done.has_key, done.kept) == (2, NOW, True, ())
    assert notes(tmp_path / "new") == ["one", "two"]
    for name in ("identity.key", "fleet.json", "fleet.toml", "high-water.json"):
        assert (tmp_path / "new" / name).read_bytes() == (home / name).read_bytes()
    here = {"ledger.db", "ledger.lock", "restored.json", "identity.key", "fleet.json"}
    assert names(tmp_path / "new") - {"ledger.db-wal", "ledger.db-shm"} == here | {
        *("fleet.toml", "high-water.json")
    }
    assert {(tmp_path / "new" / name).stat().st_mode & 0o777 for name in here} == {0o600}


def test_the_file_is_private_and_nothing_is_left_beside_it(
    home: Path, saved: Path, tmp_path: Path
) -> None:
    assert saved.stat().st_mode & 0o777 == 0o600
    assert names(tmp_path) == {"home", "backup.tar"}
    assert not list(home.glob(".backup*"))


def test_any_tar_program_reads_it(saved: Path) -> None:
    with tarfile.open(saved) as tar:
        assert tar.getnames()[0] == "backup.json"
        assert {*tar.getnames()} >= {"ledger.db", "identity.key", "fleet.json", "fleet.toml"}
        assert {one.mode for one in tar.getmembers()} == {0o600}


def test_a_copy_taken_while_somebody_writes_is_of_one_moment(home: Path, tmp_path: Path) -> None:
    with Ledger.open(home) as ledger:
        ledger.append("note_added", "", {"text": "three"}, NOW)
        save_to(home, tmp_path / "b.tar", NOW, with_key=True)
        ledger.append("note_added", "", {"text": "four"}, NOW)
    restore(tmp_path / "new", tmp_path / "b.tar")
    assert notes(tmp_path / "new") == ["one", "two", "three"]


def test_a_backup_to_a_pipe_is_the_same(home: Path, tmp_path: Path) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise OSError("a pipe")

        tell = seek

    pipe = Pipe()
    save(home, pipe, NOW, with_key=True)
    (tmp_path / "b.tar").write_bytes(pipe.getvalue())
    assert restore(tmp_path / "new", tmp_path / "b.tar").events == 2


@pytest.mark.parametrize("what", ["pipe", "folder"])
def test_a_backup_takes_the_place_of_nothing_but_a_file(
    what: str, home: Path, tmp_path: Path
) -> None:
    path = tmp_path / what
    os.mkfifo(path) if what == "pipe" else path.mkdir()
    before = path.stat().st_ino
    with pytest.raises(StoreError, match=f"cannot write to {path}"):
        save_to(home, path, NOW, with_key=True)
    assert path.stat().st_ino == before
    assert names(tmp_path) == {home.name, what}


def test_a_backup_to_a_link_lies_where_the_link_leads(home: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    for name in ("there", "new"):  # one that is there, and one that the link alone names
        target, link = tmp_path / "disk" / name, tmp_path / f"link-{name}"
        if name == "there":
            target.write_text("older")
        link.symlink_to(target)
        save_to(home, link, NOW, with_key=False)
        assert link.is_symlink()
        assert tarfile.is_tarfile(target)


def test_without_the_key_nothing_of_this_machines_own_is_in_it(home: Path, tmp_path: Path) -> None:
    save_to(home, tmp_path / "b.tar", NOW, with_key=False)
    secret = (home / "identity.key").read_bytes()
    assert secret not in (tmp_path / "b.tar").read_bytes()
    done = restore(tmp_path / "new", tmp_path / "b.tar")
    assert not done.has_key
    assert load_or_create(tmp_path / "new").author != load_or_create(home).author
    assert fleet_of(tmp_path / "new") == Fleet(root=FLEET.root, founding="cd")
    note(tmp_path / "new", "a new key has nothing to wait for")


def test_segments_in_an_archive_folder_are_in_the_backup(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    folder.mkdir()
    with Ledger.open(home) as ledger:
        assert all(
            isinstance(one, Accept) for one in ledger.admit_many(line(1, 1100, GENESIS, "x"))
        )
        assert ledger.archive_to(folder)
    save_to(home, tmp_path / "b.tar", NOW, with_key=True)
    shutil.rmtree(folder)
    assert restore(tmp_path / "new", tmp_path / "b.tar").events == 1102
    assert len(notes(tmp_path / "new")) == 1102
    with pytest.raises(StoreError, match="archive folder .* is not there"):
        save_to(home, tmp_path / "c.tar", NOW, with_key=True)
    assert not (tmp_path / "c.tar").exists()


# The key's history.


def test_a_restored_home_signs_nothing_by_itself_however_old_its_own_mark(
    home: Path, saved: Path, tmp_path: Path
) -> None:
    note(home, "three: after the backup")
    restore(tmp_path / "new", saved)
    with pytest.raises(NotHeard, match="restored from a backup") as caught:
        note(tmp_path / "new", "a second event three")
    assert "fleet up --alone" in caught.value.hint
    assert notes(tmp_path / "new") == ["one", "two"]


def test_a_later_mark_that_outlived_the_ledger_stays(
    home: Path, saved: Path, tmp_path: Path
) -> None:
    """The disk kept the key and the mark, and lost the database: the mark knows more."""
    note(home, "three")
    author, later = load_or_create(home).author, Tip(40, "40" * 32)
    HighWater(home).write(author, later)
    for path in home.glob("ledger.db*"):
        path.unlink()
    done = restore(home, saved)
    assert HighWater(home).read(author) == later
    assert {*done.kept} == {"fleet.json", "fleet.toml"}
    assert was_restored(home, author)


def test_a_note_that_cannot_be_read_keeps_a_key_silent(home: Path) -> None:
    (home / "restored.json").write_text("{")
    assert was_restored(home, "any")
    (home / "restored.json").write_text(json.dumps({"author": "another", "made_ms": 1}))
    assert not was_restored(home, "mine")


# What is refused, and loses nothing.


def test_a_home_with_a_ledger_is_not_written_over(home: Path, saved: Path) -> None:
    note(home, "three")
    before = {path.name: path.read_bytes() for path in home.iterdir() if path.is_file()}
    with pytest.raises(StoreError, match="has a ledger already") as caught:
        restore(home, saved)
    assert "FLEET_HOME=" in caught.value.hint
    assert {path.name: path.read_bytes() for path in home.iterdir() if path.is_file()} == before


def test_another_key_and_another_fleet_are_not_written_over(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    other = load_or_create(tmp_path / "new").author
    with pytest.raises(StoreError, match="another key"):
        restore(tmp_path / "new", saved)
    assert load_or_create(tmp_path / "new").author == other
    (tmp_path / "third").mkdir()
    join_fleet(tmp_path / "third", Fleet(root="99" * 32))
    with pytest.raises(StoreError, match="another fleet"):
        restore(tmp_path / "third", saved)
    assert names(tmp_path / "third") == {"fleet.json", "ledger.lock"}


def test_a_log_that_a_lost_ledger_left_is_not_read_into_the_restored_one(
    home: Path, saved: Path
) -> None:
    (home / "ledger.db").unlink()
    (home / "ledger.db-wal").write_bytes(b"the last events")
    with pytest.raises(StoreError, match="left of a ledger that is gone"):
        restore(home, saved)
    assert (home / "ledger.db-wal").read_bytes() == b"the last events"
    (home / "ledger.db-wal").write_bytes(b"")
    assert restore(home, saved).events == 2
    assert notes(home) == ["one", "two"]


def test_a_backup_without_a_key_beside_the_key_that_is_there_has_that_one_wait(
    home: Path, tmp_path: Path
) -> None:
    save_to(home, tmp_path / "b.tar", NOW, with_key=False)
    note(home, "three")
    for path in home.glob("ledger.db*"):
        path.unlink()
    assert restore(home, tmp_path / "b.tar").has_key
    with pytest.raises(NotHeard):
        note(home, "a second event three")


def test_a_home_in_use_is_not_restored_into(saved: Path, tmp_path: Path) -> None:
    from mesh.edge.store.lock import lock

    (tmp_path / "new").mkdir()
    fd = lock(tmp_path / "new" / "ledger.lock")
    try:
        with pytest.raises(LedgerBusy):
            restore(tmp_path / "new", saved)
    finally:
        os.close(fd)


def rewritten(saved: Path, out: Path, change: dict[str, bytes]) -> Path:
    """The same archive with other bytes in some members."""
    with tarfile.open(saved) as old, tarfile.open(out, "w") as new:
        for info in old.getmembers():
            file = old.extractfile(info)
            assert file is not None
            data = change.get(info.name, file.read())
            info.size = len(data)
            new.addfile(info, io.BytesIO(data))
    return out


def member(saved: Path, name: str) -> bytes:
    with tarfile.open(saved) as tar:
        file = tar.extractfile(name)
        assert file is not None
        return file.read()


def refused(home: Path, source: Path) -> StoreError:
    with pytest.raises(StoreError) as caught:
        restore(home, source)
    assert names(home) <= {"ledger.lock"}, "nothing is left of it"
    return caught.value


def test_one_bit_anywhere_is_found(saved: Path, tmp_path: Path) -> None:
    whole = saved.read_bytes()
    for at in range(512, len(whole) - 10240, len(whole) // 40):
        spoilt = bytearray(whole)
        spoilt[at] ^= 4
        bad = tmp_path / "bad.tar"
        bad.write_bytes(spoilt)
        try:
            restore(tmp_path / f"new{at}", bad)
        except StoreError:
            assert names(tmp_path / f"new{at}") <= {"ledger.lock"}
        else:  # padding between members, which is nobody's
            assert notes(tmp_path / f"new{at}") == ["one", "two"]


@pytest.mark.parametrize("part", [0, 100, 2_000, 30_000])
def test_an_archive_that_was_cut_short_is_refused(saved: Path, tmp_path: Path, part: int) -> None:
    (tmp_path / "cut.tar").write_bytes(saved.read_bytes()[:part])
    error = refused(tmp_path / "new", tmp_path / "cut.tar")
    assert "is no backup, or damaged" in error.text
    assert "nothing was changed here" in error.hint


def test_a_backup_through_gzip_comes_back_too_and_a_spoilt_one_does_not(
    saved: Path, tmp_path: Path
) -> None:
    packed = gzip.compress(saved.read_bytes())
    (tmp_path / "b.tar.gz").write_bytes(packed)
    assert restore(tmp_path / "new", tmp_path / "b.tar.gz").events == 2
    for number, bad in enumerate((packed[:-9], packed[:900], packed[:300] + b"?" + packed[301:])):
        (tmp_path / "bad").write_bytes(bad)
        try:
            restore(tmp_path / f"new{number}", tmp_path / "bad")
        except StoreError:
            assert names(tmp_path / f"new{number}") <= {"ledger.lock"}
        else:
            assert notes(tmp_path / f"new{number}") == ["one", "two"]


def test_other_bytes_under_a_members_name_are_refused(saved: Path, tmp_path: Path) -> None:
    bad = rewritten(saved, tmp_path / "bad.tar", {"fleet.json": b"{}"})
    assert "damaged" in refused(tmp_path / "new", bad).text


def test_a_ledger_that_fits_its_hash_and_not_its_signatures_is_refused(
    home: Path, saved: Path, tmp_path: Path
) -> None:
    """Whoever made the archive may have written any hash into it."""
    import hashlib

    ledger = member(saved, "ledger.db").replace(b"two", b"2wo")
    said = json.loads(member(saved, "backup.json"))
    said["files"]["ledger.db"]["sha256"] = hashlib.sha256(ledger).hexdigest()
    change = {"backup.json": json.dumps(said).encode(), "ledger.db": ledger}
    error = refused(tmp_path / "new", rewritten(saved, tmp_path / "bad.tar", change))
    assert "does not verify" in error.text


def test_a_key_that_is_not_the_one_the_archive_names_is_refused(
    saved: Path, tmp_path: Path
) -> None:
    import hashlib

    said = json.loads(member(saved, "backup.json"))
    said["files"]["identity.key"]["sha256"] = hashlib.sha256(b"k" * 32).hexdigest()
    change = {"backup.json": json.dumps(said).encode(), "identity.key": b"k" * 32}
    error = refused(tmp_path / "new", rewritten(saved, tmp_path / "bad.tar", change))
    assert "its key is not the one it names" in error.text


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "daemon.json"])
def test_a_name_that_no_backup_has_is_refused(saved: Path, tmp_path: Path, name: str) -> None:
    said = json.loads(member(saved, "backup.json"))
    said["files"][name] = said["files"].pop("fleet.toml")
    change = {"backup.json": json.dumps(said).encode()}
    assert "it lists" in refused(tmp_path / "new", rewritten(saved, tmp_path / "b", change)).text


def test_a_link_in_the_place_of_a_file_is_refused(saved: Path, tmp_path: Path) -> None:
    with tarfile.open(saved) as old, tarfile.open(tmp_path / "bad.tar", "w") as new:
        for info in old.getmembers():
            data = old.extractfile(info)
            if info.name == "fleet.toml":
                info.type, info.linkname, info.size = tarfile.SYMTYPE, "/etc/passwd", 0
            new.addfile(info, data)
    assert "damaged" in refused(tmp_path / "new", tmp_path / "bad.tar").text


@pytest.mark.parametrize("said", [b"{", b"[]", b"{}", b'{"format": 1}', b"\xff", b"[" * 60_000])
def test_a_list_that_is_none_is_refused(saved: Path, tmp_path: Path, said: bytes) -> None:
    bad = rewritten(saved, tmp_path / "bad.tar", {"backup.json": said})
    assert "is no backup, or damaged" in refused(tmp_path / "new", bad).text


def test_a_newer_format_says_what_to_install(saved: Path, tmp_path: Path) -> None:
    change = {"backup.json": json.dumps({"format": 2, "else": []}).encode()}
    error = refused(tmp_path / "new", rewritten(saved, tmp_path / "b", change))
    assert error.hint == "install a newer fleet-ledger"


def test_a_full_disk_while_restoring_leaves_an_empty_home(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archive.os, "fsync", full)
    assert "free some disk space" in refused(tmp_path / "new", saved).hint
    monkeypatch.undo()
    assert restore(tmp_path / "new", saved).events == 2


def test_a_full_disk_while_backing_up_keeps_the_backup_before(
    home: Path, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    class Full:
        def write(self, _: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StoreError) as caught:
        save(home, Full(), NOW, with_key=True)  # type: ignore[arg-type]
    assert "free some disk space" in caught.value.hint
    monkeypatch.setattr("mesh.edge.home.backup.pack", Full().write)
    with pytest.raises(TypeError):
        save_to(home, saved, NOW, with_key=True)
    assert saved.read_bytes() == before
    assert not list(saved.parent.glob(".backup.tar.*"))
    assert not list(home.glob(".backup-*"))


def test_a_damaged_ledger_is_not_passed_for_a_backup(home: Path, tmp_path: Path) -> None:
    data = (home / "ledger.db").read_bytes()
    (home / "ledger.db").write_bytes(data.replace(b"two", b"2wo"))
    with pytest.raises(StoreError) as caught:
        save_to(home, tmp_path / "b.tar", NOW, with_key=True)
    assert "fleet repair" in caught.value.hint
    assert not (tmp_path / "b.tar").exists()


def test_a_home_without_a_ledger_or_a_key_has_nothing_to_back_up(
    home: Path, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match="no ledger"):
        save_to(tmp_path / "nowhere", tmp_path / "b.tar", NOW, with_key=True)
    (home / "identity.key").unlink()
    with pytest.raises(StoreError, match="no identity"):
        save_to(home, tmp_path / "b.tar", NOW, with_key=True)
    assert not (home / "identity.key").exists()
