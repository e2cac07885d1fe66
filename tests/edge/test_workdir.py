"""A command's folder: what goes along, what is refused, and what comes back."""

import asyncio
import base64
import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from mesh.api.bodies import Body
from mesh.api.errors import RequestError
from mesh.api.wire.workfiles import WorkFile, check_files, safe_path
from mesh.edge.jobs import workdir
from mesh.edge.jobs.private import Gone
from providers.here import LocalAttempts
from tests.support.nasty import NASTY


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home" / "jobs").mkdir(parents=True)
    return tmp_path / "home"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "deep").mkdir(parents=True)
    (root / "run.sh").write_text("echo hi")
    (root / "run.sh").chmod(0o755)
    (root / "deep" / "data.bin").write_bytes(bytes(range(256)))
    (root / "copy.bin").write_bytes(bytes(range(256)))
    return root


def laid_out(home: Path, body: Body) -> Path:
    """The folder of the job's first attempt, with its files."""
    files = workdir.given(home, "j", body)
    return Path(asyncio.run(LocalAttempts(home / "jobs").give("j", 1, files)))


def git(root: Path, *words: str) -> None:
    name = ("-c", "user.name=a", "-c", "user.email=a@b.invalid")
    subprocess.run(["git", "-C", str(root), *name, *words], check=True, capture_output=True)


def test_a_folder_is_laid_out_as_it_was_each_content_kept_once(home: Path, source: Path) -> None:
    files = workdir.pack(home, "j", str(source))
    assert [one.path for one in files] == ["copy.bin", "deep/data.bin", "run.sh"]
    assert len(list((home / "jobs" / "j" / "files").iterdir())) == 2
    work = laid_out(home, Body(files=files))
    assert (work / "deep" / "data.bin").read_bytes() == bytes(range(256))
    assert (work / "run.sh").stat().st_mode & 0o777 == 0o700
    assert (work / "copy.bin").stat().st_mode & 0o777 == 0o600


def test_what_a_repository_ignores_stays_at_home(home: Path, source: Path) -> None:
    git(source, "init", "-q")
    (source / ".gitignore").write_text("secret*\n")
    (source / "secret.key").write_text("x")
    git(source, "add", ".")
    (source / "new.txt").write_text("untracked, and not ignored")
    paths = [one.path for one in workdir.pack(home, "j", str(source))]
    assert paths == [".gitignore", "copy.bin", "deep/data.bin", "new.txt", "run.sh"]


def test_a_repository_named_by_its_address_is_cloned(home: Path, source: Path) -> None:
    git(source, "init", "-q")
    git(source, "add", ".")
    git(source, "commit", "-qm", "one")
    files = workdir.pack(home, "j", f"file://{source}")
    assert "deep/data.bin" in [one.path for one in files]
    with pytest.raises(RequestError, match="git can't clone"):
        workdir.pack(home, "j2", f"file://{source}/nothing")


def test_settings_of_a_repository_that_name_programs_run_none(home: Path, source: Path) -> None:
    git(source, "init", "-q")
    git(source, "config", "core.fsmonitor", f"touch {source}/ran; true")
    workdir.pack(home, "j", str(source))
    assert not (source / "ran").exists()


@pytest.mark.parametrize("address", ["ext::sh -c touch% ran ://", "--upload-pack=touch ran://x"])
def test_an_address_that_names_a_program_runs_none(
    address: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match="git can't clone"):
        workdir.pack(home, "j", address)
    assert not (tmp_path / "ran").exists()


def test_a_link_inside_is_its_file_and_one_that_leaves_is_named(home: Path, source: Path) -> None:
    (source / "link.sh").symlink_to("run.sh")
    assert "link.sh" in [one.path for one in workdir.pack(home, "j", str(source))]
    (source / "out").symlink_to("/etc/passwd")
    with pytest.raises(RequestError, match="out is a link that leaves"):
        workdir.pack(home, "j2", str(source))


def test_more_files_or_bytes_than_a_job_may_bring_are_refused(
    home: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workdir, "MAX_FILES_BYTES", 300)
    with pytest.raises(RequestError, match="holds more than"):
        workdir.pack(home, "j", str(source))


def test_names_that_a_shell_would_run_are_files_like_others(home: Path, tmp_path: Path) -> None:
    root = tmp_path / "nasty"
    root.mkdir()
    plain = [text for text in NASTY if "/" not in text and text.strip(". ")]
    for text in plain:
        (root / text).write_bytes(text.encode())
    files = workdir.pack(home, "j", str(root))
    assert {one.path for one in files} == set(plain)
    work = laid_out(home, Body(files=files))
    assert all((work / text).read_bytes() == text.encode() for text in plain)


BAD_PATHS = ["", "/etc/passwd", "../x", "a/../../x", "a\0b", ".", "x" * 2000]


@pytest.mark.parametrize("path", BAD_PATHS)
def test_a_path_that_leaves_the_folder_is_refused_wherever_it_comes_from(
    path: str, home: Path
) -> None:
    with pytest.raises(RequestError):
        safe_path(path)
    with pytest.raises(RequestError):
        workdir.left_part(home, "j", 1, path, 0)
    if path and len(path) <= 1024:
        with pytest.raises(RequestError):
            check_files((WorkFile(path=path, hash="0" * 64, size=0),))


def test_a_list_that_says_too_much_is_refused() -> None:
    one = WorkFile(path="a", hash="0" * 64, size=400 << 20)
    with pytest.raises(RequestError, match="two files"):
        check_files((WorkFile(path="a", hash="0" * 64, size=0),) * 2)
    with pytest.raises(RequestError, match="bytes of files"):
        check_files((one, WorkFile(path="b", hash="0" * 64, size=400 << 20)))


def test_files_that_are_not_here_start_nothing(home: Path) -> None:
    (home / "jobs" / "j").mkdir()
    with pytest.raises(Gone):
        laid_out(home, Body(files=(WorkFile(path="a", hash="0" * 64, size=0),)))


def test_what_a_command_left_is_read_in_parts_and_links_out_of_it_are_not(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workdir, "PART_BYTES", 4)
    work = home / "jobs" / "j" / "1" / "work"
    work.mkdir(parents=True)
    (work / "out.txt").write_bytes(b"0123456789")
    (work / "evil").symlink_to("/etc/passwd")
    parts = [workdir.left_part(home, "j", 1, "out.txt", at) for at in (0, 4, 8)]
    assert b"".join(base64.b64decode(one.data) for one in parts) == b"0123456789"
    whole = hashlib.blake2b(b"0123456789", digest_size=32).hexdigest()
    assert {one.hash for one in parts} == {whole}
    (work / "out.txt").write_text("9876543210")  # as long, and a moment later
    again = workdir.left_part(home, "j", 1, "out.txt", 0)
    assert again.hash == hashlib.blake2b(b"9876543210", digest_size=32).hexdigest()
    os.utime(work / "out.txt", (1, 1))
    reads = []
    real = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *a: reads.append(1) or real(*a))
    assert {workdir.left_part(home, "j", 1, "out.txt", at).hash for at in range(9)} == {again.hash}
    assert len(reads) == 1, "it is read whole once, not for each part"
    with pytest.raises(RequestError, match="not in the job's folder"):
        workdir.left_part(home, "j", 1, "evil", 0)
