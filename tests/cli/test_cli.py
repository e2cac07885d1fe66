"""The `fleet` command as a person meets it: real processes, an empty state directory."""

import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from mesh.edge.store.ledger import Ledger
from providers.process import boot_id, start_ticks

ROOT = Path(__file__).parents[2]


def environment(home: Path) -> dict[str, str]:
    """What a command needs of this process's surroundings, and its home."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "FLEET_HOME": str(home),
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": str(ROOT),
    }


def fleet(home: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """One command in a process of its own, with FLEET_HOME at `home`."""
    settings = environment(home) | env
    return subprocess.run(
        [sys.executable, "-m", "mesh", *args],
        env=settings,
        cwd=home,
        stdin=subprocess.DEVNULL,
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
    for code in ("0 ok", "3 cannot now", "100 job failed", "102 not found", "106 not allowed"):
        assert code in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("plna",), 2, "did you mean 'plan'? try: fleet --help"),
        (("run", "m", "--prompt", ""), 2, "the prompt is empty"),
        (("run", "m", "--prompt", "  \n"), 2, "the prompt is empty"),
        (("run", "m", "--prompt", "-"), 2, "the prompt is empty"),
        (("run", "m", "--prompt", "hi", "--prompt-tokens", "9"), 2, "--prompt-tokens"),
        (("run", "--prompt", "hi", "--", "echo"), 2, "takes no --prompt"),
        (("-o", "json", "up"), 2, "fleet up has no -o"),
        (("-o", "yaml", "status"), 2, "yaml"),
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
    assert "2 lines: 2 admitted" in fleet(there, "import", str(here / "out.jsonl")).stdout
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


@pytest.mark.parametrize(
    "words", [("job",), ("cancel",), ("logs", "-f"), ("return",), ("drain",), ("job", "--files")]
)
def test_bytes_that_are_no_text_name_nothing(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Nothing listens there: what was typed gets as far as a request."""
    fleet(tmp_path, "note", "opens the ledger")
    (tmp_path / "daemon.json").write_text(json.dumps(announced(os.getpid())))
    (tmp_path / "token").write_text("t")
    done = fleet(tmp_path, *words, os.fsdecode(b"\xff"))
    assert "internal error" not in done.stderr
    assert done.returncode in (102, 105)


def test_an_unknown_job_is_not_found(tmp_path: Path) -> None:
    fleet(tmp_path, "note", "opens the ledger")
    for name in ("job", "logs"):
        done = fleet(tmp_path, name, "../identity")
        assert "no job" in one_line(done)
        assert done.returncode == 102


def announced(pid: int) -> dict[str, object]:
    """As a daemon of that process names itself; nothing listens there."""
    url = "http://127.0.0.1:9"
    return {"pid": pid, "start_ticks": start_ticks(pid), "boot_id": boot_id(), "url": url}


def test_down_ends_no_process_that_has_a_dead_daemons_number(tmp_path: Path) -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        for wrong in ({"start_ticks": 1}, {"boot_id": "another boot"}, {"start_ticks": 0}):
            (tmp_path / "daemon.json").write_text(json.dumps(announced(stranger.pid) | wrong))
            (tmp_path / "token").write_text("t")
            assert "no daemon is running" in fleet(tmp_path, "down").stdout
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("said", ["{", "[]", '{"pid": "x"}', '{"pid": 1e400}', '{"pid": {}}'])
def test_a_daemon_file_of_nonsense_counts_as_no_daemon(tmp_path: Path, said: str) -> None:
    (tmp_path / "daemon.json").write_text(said)
    (tmp_path / "token").write_text("t")
    assert "no daemon is running" in fleet(tmp_path, "down").stdout


def test_a_stale_daemon_file_counts_as_no_daemon(tmp_path: Path) -> None:
    own = announced(os.getpid()) | {"start_ticks": 1}
    (tmp_path / "daemon.json").write_text(json.dumps(own))
    (tmp_path / "token").write_text("t")
    assert "no daemon is running" in fleet(tmp_path, "down").stdout
    assert fleet(tmp_path, "cancel", "j1").returncode == 105


def test_a_daemon_that_does_not_answer_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "daemon.json").write_text(json.dumps(announced(os.getpid())))
    (tmp_path / "token").write_text("t")
    done = fleet(tmp_path, "cancel", "j1")
    assert "does not answer" in one_line(done)
    assert done.returncode == 105


def test_fleet_alone_shows_what_to_do_next_and_is_no_error(tmp_path: Path) -> None:
    empty = fleet(tmp_path)
    assert (empty.returncode, empty.stderr) == (0, "")
    assert "no fleet here yet" in empty.stdout
    assert "fleet up --detach" in empty.stdout
    assert list(tmp_path.iterdir()) == []
    fleet(tmp_path, "note", "opens the ledger")
    known = fleet(tmp_path)
    assert (known.returncode, known.stderr) == (0, "")
    assert "ledger: 1 events" in known.stdout
    assert "fleet up --detach" in known.stdout


def test_the_output_format_may_stand_before_the_command_or_after_it(tmp_path: Path) -> None:
    assert json.loads(fleet(tmp_path, "-o", "json").stdout)["daemon"] is False
    fleet(tmp_path, "note", "opens the ledger")
    for words in (("status",), ("devices",), ("devices", "ls"), ("ps", "-a"), ("peers", "list")):
        before = json.loads(fleet(tmp_path, "-o", "json", *words).stdout)
        after = json.loads(fleet(tmp_path, *words, "-o", "json").stdout)
        assert type(before) is type(after)
    assert json.loads(fleet(tmp_path, "-ojson", "events").stdout)[0]["event_type"] == "note_added"
    text = fleet(tmp_path, "-o", "json", "status", "-o", "text").stdout
    assert text.startswith("daemon down")


def test_other_tools_words_for_a_list_and_a_removal_are_understood(tmp_path: Path) -> None:
    fleet(tmp_path, "devices", "add", "rig", "--gpu", "RTX 4090")
    assert "rig" in fleet(tmp_path, "devices", "ls").stdout
    assert (
        fleet(tmp_path, "devices", "list").stdout.split("AGE")[0]
        == (fleet(tmp_path, "devices").stdout.split("AGE")[0])
    )
    assert "removed rig" in fleet(tmp_path, "devices", "rm", "rig").stdout
    shown = fleet(tmp_path, "devices", "--help").stdout
    assert "rm" not in shown.split()


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_terminal_without_our_characters_still_gets_an_answer(
    tmp_path: Path, encoding: str
) -> None:
    fleet(tmp_path, "note", "x" * 200 + " 日本")
    done = fleet(tmp_path, "events", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, "")


SITUATIONS = {
    "no ledger yet": ("status", 3, "no ledger"),
    "the home is a file": ("up", 3, "a folder there, not a file"),
    "the home is a file, in the background": ("up --detach", 3, "a folder there, not a file"),
    "nowhere to export to": ("export ''", 3, "it is a folder"),
    "an export's folder is missing": ("export nowhere/out.jsonl", 3, "cannot export"),
    "the ledger is in use": ("note busy", 3, "in use"),
    "the API's port is taken": ("up --port {port}", 3, "in use"),
    "the API's port is taken, in the background": ("up --detach --port {port}", 3, "in use"),
    "the output can't be written": ("status > /dev/full", 3, "No space left"),
    "an import of a folder": ("import .", 2, "directory"),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_an_ordinary_situation_is_one_line_and_its_code_never_an_internal_error(
    tmp_path: Path, situation: str
) -> None:
    words, code, says = SITUATIONS[situation]
    with prepared(tmp_path, situation) as (home, port):
        words, _, target = words.format(port=port).partition(" > ")
        with Path(target or os.devnull).open("w") as out:
            done = subprocess.run(
                [sys.executable, "-m", "mesh", *shlex.split(words)],
                env=environment(home) | {"FLEET_LISTEN": "none", "COLUMNS": "200"},
                cwd=tmp_path,
                stdout=out,
                stderr=subprocess.PIPE,
                text=True,
                timeout=60,
                check=False,
            )
    assert done.returncode == code, done.stderr
    assert says in one_line(done)
    assert "internal error" not in done.stderr
    assert "Errno" not in done.stderr


@pytest.mark.parametrize("words", [("up",), ("up", "--detach"), ("note", "x")])
@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="a folder nobody may write to")
def test_a_home_that_cannot_be_written_is_no_internal_error(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    done = fleet(tmp_path, *words, FLEET_HOME="/sys/fleet")
    assert "may write to it" in one_line(done)
    assert done.returncode == 3


@contextmanager
def prepared(folder: Path, situation: str) -> Iterator[tuple[Path, int]]:
    """The world as the situation says: a home and a port."""
    home = folder / "home"
    if "home is a file" in situation:
        home.write_text("a file")
    elif situation != "no ledger yet":
        fleet(folder, "note", "opens the ledger", FLEET_HOME=str(home))
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        if situation != "the ledger is in use":
            yield home, taken.getsockname()[1]
            return
        with Ledger.open(home):
            yield home, 0
