"""The private folder of a job: what is kept there, for whom, and how it goes."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from mesh.api.bodies import Body
from mesh.api.errors import RequestError
from mesh.edge.jobs import private
from mesh.edge.jobs.private import (
    Gone,
    drop_request,
    erase,
    keep_request,
    keep_words,
    kept_jobs,
    never_started,
    private_row,
    request_of,
    words_of,
)
from mesh.state.facts.fact import Payload
from mesh.state.jobs import JobView
from tests.state.test_fold import ANA

BODY = Body(prompt="my doctor says", model="/home/ana/m.gguf")


def job(**payload: object) -> JobView:
    given: Payload = {"job_id": "j1", "kind": "model", **payload}
    return JobView(job_id="j1", kind="model", home=ANA, request=given, submitted_ms=0)


def kept(home: Path) -> JobView:
    sealed = keep_request(home, "j1", BODY)
    return job(body_hash=sealed.body_hash, body_bytes=sealed.body_bytes)


def test_a_body_comes_back_as_it_was_sealed_and_nobody_else_can_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        view = kept(tmp_path)
    finally:
        os.umask(before)
    assert request_of(tmp_path, view) == BODY
    file = tmp_path / "jobs" / "j1" / "request.json"
    modes = {path.stat().st_mode & 0o777 for path in (file.parent.parent, file.parent)}
    assert (modes, file.stat().st_mode & 0o777) == ({0o700}, 0o600)


def test_a_folder_of_an_earlier_program_is_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs").chmod(0o755)
    kept(tmp_path)
    assert (tmp_path / "jobs").stat().st_mode & 0o777 == 0o700


def test_a_body_is_on_the_disk_with_every_folder_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(private, "sync_folder", synced.append)
    keep_request(tmp_path, "j1", BODY)
    assert synced == [tmp_path, tmp_path / "jobs"]  # write_private syncs the file and its folder


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda file: file.unlink(), "is gone from this machine"),
        (lambda file: file.write_bytes(b"{"), "is damaged on this machine"),
        (lambda file: file.write_bytes(b'{"body":{},"salt":"xy"}'), "is damaged"),
        (lambda file: file.write_text(file.read_text().replace("doctor", "lawyer")), "not the one"),
    ],
)
def test_a_body_that_is_not_the_sealed_one_starts_nothing(
    tmp_path: Path, spoil: object, says: str
) -> None:
    view = kept(tmp_path)
    assert callable(spoil)
    spoil(tmp_path / "jobs" / "j1" / "request.json")
    with pytest.raises(Gone, match=says):
        request_of(tmp_path, view)
    assert private_row(tmp_path, view) == {"request": None}


def test_an_event_of_an_earlier_program_is_its_own_body(tmp_path: Path) -> None:
    view = job(kind="command", command=["ls", "-l"], cwd="/srv")
    assert request_of(tmp_path, view) == Body(command=("ls", "-l"), cwd="/srv")


# Whoever may give its own peer jobs may sign any text as the id of one.
ODD_IDS = ["", ".", "..", "../j1", "a/b", "/etc", "a\0b", "x" * 256, "é" * 128, "x" * 60_000]


@pytest.mark.parametrize("job_id", ODD_IDS)
def test_an_id_never_names_a_folder_outside(tmp_path: Path, job_id: str) -> None:
    with pytest.raises(RequestError, match="no job"):
        erase(tmp_path, job_id)


@pytest.mark.parametrize("job_id", ODD_IDS)
def test_a_job_of_any_id_can_be_shown(tmp_path: Path, job_id: str) -> None:
    keep_words(tmp_path, "j1", "of another job")
    for view in (job(kind="command", command=["ls"]), job(kind="model", body_hash="ab" * 32)):
        found = private_row(tmp_path, replace(view, job_id=job_id))
        assert "text" not in found
    assert found == {"request": None}


def test_a_link_among_the_jobs_stops_nobody(tmp_path: Path) -> None:
    keep_words(tmp_path, "j1", "why")
    (tmp_path / "jobs" / "loop").symlink_to(tmp_path / "jobs" / "loop")
    (tmp_path / "jobs" / "away").symlink_to(tmp_path)
    assert kept_jobs(tmp_path) == never_started(tmp_path) == ["j1"]
    assert erase(tmp_path, "away").stuck == (str(tmp_path / "jobs" / "away"),)


def test_the_newest_words_are_the_attempts_and_else_those_of_who_tried(tmp_path: Path) -> None:
    assert words_of(tmp_path, "j1") == ""
    keep_words(tmp_path, "j1", "no file at /home/ana/m.gguf")
    assert words_of(tmp_path, "j1") == "no file at /home/ana/m.gguf"
    (tmp_path / "jobs" / "j1" / "1").mkdir()
    result = {"text": "exit code 7: sk-12345"}
    (tmp_path / "jobs" / "j1" / "1" / "result.json").write_text(json.dumps(result))
    assert words_of(tmp_path, "j1") == "exit code 7: sk-12345"


def test_what_is_erased_is_counted_and_twice_is_once(tmp_path: Path) -> None:
    kept(tmp_path)
    folder = tmp_path / "jobs" / "j1"
    (folder / "1").mkdir()
    for name in ("log.txt", "answer.txt", "result.json"):
        (folder / "1" / name).write_text("12345")
    outside = tmp_path / "mine.txt"
    outside.write_text("mine")
    (folder / "1" / "link").symlink_to(outside)
    (folder / "1" / "folder").symlink_to(tmp_path)
    found = erase(tmp_path, "j1")
    assert found.kinds == ("answer", "log", "request", "runner's files")
    assert (found.files, found.stuck, folder.exists()) == (6, (), False)
    assert outside.read_text() == "mine"
    assert erase(tmp_path, "j1").files == 0


def test_a_link_in_place_of_a_jobs_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    (tmp_path / "jobs" / "j1").symlink_to(tmp_path / "mine")
    found = erase(tmp_path, "j1")
    assert (tmp_path / "mine" / "letter.txt").exists()
    assert (found.files, found.stuck) == (0, (str(tmp_path / "jobs" / "j1"),))


def test_what_cannot_be_removed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may remove anything, so the system's refusal is played."""
    kept(tmp_path)
    unlink = os.unlink

    def refuse(path: str, **more: int) -> None:
        if str(path).endswith("request.json"):
            raise PermissionError(path)
        unlink(path, **more)

    monkeypatch.setattr(os, "unlink", refuse)
    found = erase(tmp_path, "j1")
    assert found.files == 0
    assert any(path.endswith("request.json") for path in found.stuck)


def test_a_body_taken_back_leaves_no_draft_and_a_started_job_stays(tmp_path: Path) -> None:
    kept(tmp_path)
    (tmp_path / "jobs" / "j1" / ".request.json.0011").write_text("half")
    (tmp_path / "jobs" / "j2" / "1").mkdir(parents=True)
    assert never_started(tmp_path) == ["j1"]
    drop_request(tmp_path, "j1")
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == ["j2"]
