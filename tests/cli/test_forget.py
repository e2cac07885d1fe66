"""`fleet forget` on a ledger of an earlier program: files go, signed words stay and are said."""

from pathlib import Path

import pytest

from mesh.cli import app
from tests.cli.fixed_fleet import write_ledger


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose second job was a command that failed, and whose third runs."""
    found = tmp_path / "home"
    write_ledger(found)
    monkeypatch.setenv("FLEET_HOME", str(found))
    attempt = found / "jobs" / "job-0002" / "1"
    attempt.mkdir(parents=True)
    (attempt / "log.txt").write_text("Traceback")
    return found


def test_what_an_earlier_program_signed_is_said_and_ends_with_its_code(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for erased in ("forgot job-0002: log (1 file)", "nothing of job-0002 is left on this machine"):
        assert app.run(["forget", "job-0002"]) == 3
        said = capsys.readouterr()
        assert said.out == f"{erased}\n"
        assert said.err == (
            "fleet: job-0002: the signed ledger holds its command, last words on every peer, and "
            "no event is erased. try: change any key or password it held; docs/threat-model.md "
            "says who has read it\n"
        )
    assert not (home / "jobs" / "job-0002").exists()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("job-0003",), 3, "job job-0003 is running. try: fleet cancel job-0003"),
        (("nosuch",), 102, "no job 'nosuch'"),
        (("..",), 102, "no job '..'"),
        ((), 2, "say one of"),
        (("job-0002", "--all-ended"), 2, "say one of"),
        (("--older", "soon"), 2, "older: 'soon' is not a duration"),
    ],
)
def test_what_cannot_be_forgotten_says_what_to_do_and_erases_nothing(
    home: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, says: str
) -> None:
    assert app.run(["forget", *words]) == code
    assert says in capsys.readouterr().err
    assert (home / "jobs" / "job-0002" / "1" / "log.txt").exists()


def test_every_job_that_left_something_is_forgotten_at_once(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["forget", "--older", "1h"]) == 3
    assert capsys.readouterr().out == "forgot job-0002: log (1 file)\n"
    assert app.run(["forget", "--all-ended"]) == 0
    assert "nothing to forget" in capsys.readouterr().out
