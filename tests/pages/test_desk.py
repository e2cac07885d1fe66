"""Pages for one machine, as a newcomer types them: each command, in its order, at a real daemon."""

import json
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Fleet
from tests.pages.elsewhere import ELSEWHERE
from tests.support.pages import Command, rows, typed
from tests.support.tiny_gguf import write_tiny_gguf
from tests.support.typist import Typist

PAGES = (
    "README.md",
    "docs/tasks.md",
    "docs/planner.md",
    "docs/serving.md",
    "docs/how-to/dashboard.md",
    "docs/how-to/engines.md",
    "docs/how-to/keys.md",
)
# What pages write in capitals or leave open, and what stands for it here.
OPEN = {
    r"\[?\bMODEL\]?": "model.gguf",
    r"\bTEXT\b": "hello",
    r"\bCOMMAND …|\bCOMMAND\b": "true",
    r"--what-if A --what-if B\b": '--what-if "RTX 4090" --what-if "RTX 3090"',
    r"\bAPP\b": "aider",
    r"\bSECRET\b": "none",
    r"(?<=--fleet )FILE\b": "fleet.json",
    r"\bFILE\b": "ledger.jsonl",
    r"-- make$": "-- ./make",
    r"^… \| ": "echo hello | ",
}
# Who is not there to type, to look, or to end what goes on until it is ended.
ALONE = {
    r"^fleet chat( \S+)?$": " -p hello --tokens 8",
    r"^fleet dashboard$": " --no-open",
    r"^fleet run (?!.*-- )": " --tokens 8",
    r"^fleet keys revoke ci$": " -y",
}
# The daemon of the test is up already; a job begun with -d may be over by then.
OTHER_ENDS = {"fleet up --detach": {3}, "fleet cancel ID": {0, 3}}


def commands(page: str) -> list[Command]:
    """Those of a page that are typed here."""
    found = [*typed(page), *(rows(page) if page == "docs/tasks.md" else ())]
    return [one for one in dict.fromkeys(found) if one.text not in ELSEWHERE.get(page, {})]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Typist]:
    """A folder with what the pages name, and a daemon that has run one job."""
    folder = tmp_path_factory.mktemp("desk")
    fleet = Fleet(folder / "home")
    fleet.env |= {"FLEET_NAME": "desk", "COLUMNS": "100"}
    typist = Typist(folder / "work", fleet.env)
    lay_out(typist.folder)
    try:
        fleet.up()
        typist.ok("fleet run model.gguf --prompt hello --tokens 8")
        yield typist
    finally:
        typist.close()
        fleet.close()


def lay_out(folder: Path) -> None:
    """The files that pages name."""
    write_tiny_gguf(folder / "model.gguf")
    shutil.copy(folder / "model.gguf", folder / "qwen3-8b.gguf")
    (folder / "fleet.json").write_text('[{"name": "lab", "gpu": "RTX 4090", "ram": "64GB"}]')
    (folder / "asked.jsonl").write_text('{"prompt": "hello"}\n')
    (folder / ".env").write_text("COLOUR=blue\n")
    (folder / "make").write_text("#!/bin/sh\necho $COLOUR > out.txt\n")
    (folder / "make").chmod(0o755)


def filled(command: str, desk: Typist) -> str:
    """A command with something real where its page leaves something open."""
    line = command
    for mark, real in OPEN.items():
        line = re.sub(mark, real, line)
    if re.search(r"\bID\b", line):
        line = re.sub(r"\bID\b", str(jobs(desk, ended=True)[0]["job_id"]), line)
    if "model.gguf" in line:
        line = line.replace(" 8k", " 1k")  # its length
    if re.match(r"fleet (events|logs) -f", line):
        line = line.replace(" -f", "")  # it follows until Ctrl-C
    if line.startswith("fleet proxy --as"):
        line += f" --port {free_port()}"  # the usual one may be taken
    for mark, more in ALONE.items():
        if re.search(mark, line.partition(" > ")[0]):
            line = line.replace(" > ", f"{more} > ") if " > " in line else line + more
    return line


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def idle(desk: Typist) -> Iterator[Typist]:
    """The desk, on which nothing is left running or served after a page."""
    yield desk
    for model in desk.folder.glob("*.gguf"):
        desk.type(f"fleet serve {model.name} --end")
    for job in jobs(desk):
        desk.type(f"fleet cancel {job['job_id']}")


def jobs(desk: Typist, *, ended: bool = False) -> list[dict[str, object]]:
    """Its jobs, newest first."""
    said = json.loads(desk.ok(f"fleet ps {'-a ' if ended else ''}-o json").out)
    return list(said["jobs"] if isinstance(said, dict) else said)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_the_page_runs_in_its_order(page: str, idle: Typist) -> None:
    found = commands(page)
    assert found
    failed = []
    for command in found:
        line = filled(command.text, idle)
        done = idle.type(line)
        if done.code not in OTHER_ENDS.get(command.text, {command.ends}) or "Traceback" in done.err:
            failed.append(f"{command.text} -> {line}: {done.code} {done.err.strip()[-300:]}")
    assert not failed, "\n".join(failed)


def test_the_list_of_tasks_is_as_long_as_it_was() -> None:
    """None is lost where rows are written anew."""
    found = {one.text for one in rows("docs/tasks.md")}
    assert len(found) >= 100
    assert {"fleet", "fleet status", "fleet verify", "fleet doctor"} <= found


def test_the_picture_of_the_sweep_is_what_its_command_draws(desk: Typist) -> None:
    """Its words: curves move with each fit of the speeds."""
    words = re.compile(r"<text[^>]*>([^<]*)</text>")
    (command,) = [one for one in typed("docs/planner.md") if "--plot" in one.text]
    desk.ok(command.text)
    kept = Path(__file__).parents[2] / "docs" / "pictures" / "sweep-qwen3-8b.svg"
    drawn = (desk.folder / "sweep.svg").read_text()
    assert sorted(words.findall(kept.read_text())) == sorted(words.findall(drawn))
