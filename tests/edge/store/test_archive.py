"""What is old may live on another disk: written once, compared at every reading, never deleted."""

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.config import load_config
from mesh.edge.starting.opening import _archive
from mesh.edge.store.care.repair import repair
from mesh.edge.store.ledger import Ledger, Reader, StoreError
from mesh.edge.store.sealed import archive
from mesh.ledger import signing
from mesh.ledger.event import NO_PREV
from tests.edge.store.events import CYD, NOW, line

CYDS = signing.author_of(CYD)
MAIN = line(1, 3100, NO_PREV, "main")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed ledger of three full segments and an open one."""
    home = tmp_path_factory.mktemp("sound")
    with Ledger.open(home) as ledger:
        ledger.take_in(MAIN)
    return home


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


@pytest.fixture
def ledger(sound: Path, tmp_path: Path, folder: Path) -> Iterator[Ledger]:
    with Ledger.open(Path(shutil.copytree(sound, tmp_path / "home"))) as opened:
        opened.archive_to(folder)
        yield opened


def test_full_segments_move_and_everything_reads_as_before(ledger: Ledger, folder: Path) -> None:
    assert len(list(folder.iterdir())) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    row = ledger._db.execute("SELECT COUNT(data), COUNT(*) FROM segments").fetchone()
    assert row == (0, 3)
    assert ledger.page(CYDS, 0, 5000, 1 << 30).envelopes == tuple(MAIN)
    with Ledger.open(ledger.home.with_name("fresh")) as fresh:
        fresh.take_in(MAIN)
        assert list(ledger.events()) == list(fresh.events())
    for every in (False, True):
        assert ledger.verify(every=every).ok
    assert ledger.archive_to(folder) == 0


def test_a_folder_that_is_away_is_one_line_and_the_rest_goes_on(
    ledger: Ledger, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.rename(folder.with_name("unplugged"))
    _archive(ledger, str(folder))
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"the archive folder {folder} is not there; connect its disk" in said
    assert ledger.append("note_added", "", {}, NOW).seq == 1
    assert [event.seq for _, event in ledger.events(after=3000)] == [*range(3001, 3101), 1]
    (finding,) = ledger.verify().findings
    assert "is not there: 3 segments are not checked" in finding.text
    with pytest.raises(StoreError, match="archive folder .* is not there"):
        list(Reader.open(ledger.home).events())
    folder.with_name("unplugged").rename(folder)
    assert ledger.verify().ok


def test_a_changed_or_missing_file_is_never_believed(ledger: Ledger, folder: Path) -> None:
    assert ledger.verify().ok
    first, second, _ = sorted(folder.iterdir())
    data = first.read_bytes()
    first.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    second.unlink()
    for every in (False, True):
        found = ledger.verify(every=every).findings
        assert sum("missing, or changed" in finding.text for finding in found) == 2
    with pytest.raises(StoreError, match="missing, or changed"):
        list(Reader.open(ledger.home).ordered())


def test_a_move_that_is_cut_off_loses_nothing(
    sound: Path, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path(shutil.copytree(sound, tmp_path / "home"))
    monkeypatch.setattr(archive, "BATCH", 1)
    wrote: list[object] = []

    def full(*_: object) -> None:
        wrote.append(None)
        if len(wrote) > 1:
            raise OSError(28, "No space left on device")

    with Ledger.open(home) as ledger:
        with monkeypatch.context() as patch:
            patch.setattr(archive, "sync_folder", full)
            with pytest.raises(StoreError, match="No space left"):
                ledger.archive_to(folder)
        assert ledger.verify(every=True).ok
        assert ledger.archive_to(folder) == 2
        assert ledger.verify(every=True).ok


def test_a_repair_reads_the_folder_too(ledger: Ledger, folder: Path) -> None:
    home = ledger.home
    ledger.close()
    data = bytearray((home / "ledger.db").read_bytes())
    data[:100] = bytes(100)
    (home / "ledger.db").write_bytes(data)
    files = sorted(path.read_bytes() for path in folder.iterdir())
    assert repair(home, folder).kept == 3100
    with Ledger.open(home) as again:
        assert again.verify().ok
        again.archive_to(folder)
    assert sorted(path.read_bytes() for path in folder.iterdir()) == files


def test_the_setting_names_a_whole_path(tmp_path: Path) -> None:
    (tmp_path / "fleet.toml").write_text('archive = "/mnt/disk/fleet"\n')
    assert load_config(tmp_path).archive == "/mnt/disk/fleet"
    (tmp_path / "fleet.toml").write_text('archive = "disk"\n')
    with pytest.raises(Exception, match="must be a whole path"):
        load_config(tmp_path)
