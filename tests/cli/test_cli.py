"""The `fleet` command as a person meets it: real processes, an empty state directory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def fleet(home: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """One command in a process of its own, with FLEET_HOME at `home`."""
    settings = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "FLEET_HOME": str(home),
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": str(ROOT),
        **env,
    }
    return subprocess.run(
        [sys.executable, "-m", "mesh", *args],
        env=settings,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The error's single line; there is nothing else on stderr and no traceback."""
    assert done.stderr.startswith("fleet: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_help_names_every_exit_code(tmp_path: Path) -> None:
    done = fleet(tmp_path, "--help")
    assert done.returncode == 0
    for code in ("0 ok", "100 job failed", "102 not found", "104 nothing fits"):
        assert code in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("plna",), 2, "plna"),
        (("plan", "llama-2-70b", "--quantum"), 2, "--quantum"),
        (("plan", "llama-2-70b", "--batch", "-3"), 2, "-3"),
        (("plan", "llama-2-70b", "-c", "many"), 2, "many"),
        (("plan",), 2, "MODEL"),
        (("run",), 2, "MODEL"),
        (("run", "m", "--prompt", "hi", "--", "echo"), 2, "either"),
        (("run", "m"), 2, "--prompt"),
        (("run", "m", "--input", "missing.txt"), 102, "missing.txt"),
        (("run", "m", "--prompt", "hi"), 105, "fleet up --detach"),
        (("run", "--", "echo", "--help"), 105, "fleet up --detach"),
        (("cancel", "j1"), 105, "fleet up --detach"),
        (("import", "missing.jsonl"), 102, "missing.jsonl"),
        (("note", " "), 2, "empty"),
        (("cost", "--csv", "-o", "json"), 2, "--csv"),
    ],
)
def test_wrong_input_is_one_line_and_a_stable_code(
    tmp_path: Path, args: tuple[str, ...], code: int, says: str
) -> None:
    done = fleet(tmp_path, *args)
    assert says in one_line(done)
    assert (done.returncode, done.stdout) == (code, "")


@pytest.mark.parametrize("name", ["status", "devices", "ps", "events", "verify", "cost"])
def test_a_home_without_a_ledger_says_so_and_what_to_do(tmp_path: Path, name: str) -> None:
    done = fleet(tmp_path, name)
    assert "no ledger" in one_line(done)
    assert "fleet up" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_note_without_a_daemon_is_in_the_ledger_and_verifies(tmp_path: Path) -> None:
    written = fleet(tmp_path, "note", "cleaned the fans")
    assert written.returncode == 0, written.stderr
    events = json.loads(fleet(tmp_path, "events", "-o", "json").stdout)
    assert [(e["id"], e["payload"]) for e in events] == [
        (written.stdout.strip(), {"text": "cleaned the fans"})
    ]
    assert "ledger verified: 1 events" in fleet(tmp_path, "verify").stdout


def test_an_export_imports_into_another_home_as_the_same_events(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    for text in ("one", "two"):
        fleet(here, "note", text)
    assert fleet(here, "export", "out.jsonl").returncode == 0
    assert "admitted 2" in fleet(there, "import", str(here / "out.jsonl")).stdout
    wanted = fleet(here, "events", "-o", "json").stdout
    assert fleet(there, "events", "-o", "json").stdout == wanted


def test_reads_are_plain_when_piped_and_json_is_one_document(tmp_path: Path) -> None:
    fleet(tmp_path, "note", "first \x1b[31mred")
    for args in (("status",), ("devices",), ("ps", "-a"), ("cost",), ("events",)):
        plain = fleet(tmp_path, *args)
        assert plain.returncode == 0, plain.stderr
        assert "\x1b" not in plain.stdout
        json.loads(fleet(tmp_path, *args, "-o", "json").stdout)


def test_an_unknown_model_is_not_found(tmp_path: Path) -> None:
    fleet(tmp_path, "note", "opens the ledger")
    done = fleet(tmp_path, "plan", "no-such-model")
    assert "no-such-model" in one_line(done)
    assert done.returncode == 102


def test_an_unknown_job_is_not_found(tmp_path: Path) -> None:
    fleet(tmp_path, "note", "opens the ledger")
    for name in ("job", "logs"):
        done = fleet(tmp_path, name, "../identity")
        assert "no job" in one_line(done)
        assert done.returncode == 102


def test_a_stale_daemon_file_counts_as_no_daemon(tmp_path: Path) -> None:
    own = {"pid": os.getpid(), "url": "http://127.0.0.1:9", "started_ms": 1}
    (tmp_path / "daemon.json").write_text(json.dumps(own))
    (tmp_path / "token").write_text("t")
    assert "no daemon is running" in fleet(tmp_path, "down").stdout
    assert fleet(tmp_path, "cancel", "j1").returncode == 105


def test_a_daemon_that_does_not_answer_is_unreachable(tmp_path: Path) -> None:
    own = {"pid": os.getpid(), "url": "http://127.0.0.1:9", "started_ms": 4_000_000_000_000}
    (tmp_path / "daemon.json").write_text(json.dumps(own))
    (tmp_path / "token").write_text("t")
    done = fleet(tmp_path, "cancel", "j1")
    assert "does not answer" in one_line(done)
    assert done.returncode == 105
