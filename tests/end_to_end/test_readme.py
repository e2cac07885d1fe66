"""README as a newcomer types it: each of its commands and every row of its table, run for real."""

import re
import shlex
import shutil
import socket
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Fleet

README = (Path(__file__).parents[2] / "README.md").read_text()
# What README writes in capitals or leaves open, and what stands for it here.
OPTION_ROWS = re.compile(r"^--")
NOT_HERE = {
    "fleet join CODE",  # a second machine: tests/mesh runs it
    "fleet budget grant PEER 10",  # tests/mesh/test_budgets
    # What tests/mesh/test_service and test_backup run, and tests/browser.
    "fleet service install --now",
    "fleet service status",
    "fleet backup FILE",
    "fleet backup - --without-key",
    "fleet restore FILE",
    "fleet doctor --fix",
    "fleet peers remove NAME",
    'fleet run ./model.gguf --on rig --prompt "Why is the sky blue?"',  # tests/mesh/test_dispatch
    "fleet models pull qwen3-8b --from rig",  # tests/mesh/test_models
    "fleet adopt ID",  # while it goes on: tests/mesh/test_dispatch
    "fleet ssh add me@rig",  # a machine with sshd: tests/providers/ssh runs one
    "fleet peers role NAME admin",
    "fleet recover --remove NAME",  # with the words on standard input: test_people runs it
    "fleet identity reset",  # while no daemon runs
    # A cloud and a key of it: tests/mesh/test_clouds_page types them.
    "fleet clouds login vastai",
    "fleet clouds take vastai",
    "fleet clouds logout vastai",
    "fleet rent --gpu 24GB.. --for 2h",
    "fleet run --rent 24GB.. -- COMMAND",
    "fleet return ID",
    "fleet orphans",
}


def block_commands() -> list[str]:
    """Commands of the fenced blocks, without their comments."""
    blocks = re.findall(r"```\n(.*?)```", README, re.S)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("fleet ")]


def table_commands() -> list[str]:
    """Commands of the table's second column; bare options continue the command before them."""
    found: list[str] = []
    for row in re.findall(r"^\| [a-z].*? \| (.*) \|$", README, re.M):
        words = re.findall(r"`([^`]+)`", row)
        for word in words:
            if word.startswith("fleet"):
                found.append(word)
            elif OPTION_ROWS.match(word):
                found.append(with_options(found[-1], word))
    return found


def with_options(command: str, options: str) -> str:
    """The row's command with another option: a `--what-if` replaces the one there."""
    name = shlex.split(options)[0]
    kept = re.sub(rf" {name} (?:\"[^\"]*\"|\S+)", "", command) if name == "--what-if" else command
    kept = re.sub(r" --what-if \"[^\"]*\"", "", kept) if name == "--fleet" else kept
    return f"{kept} {options}"


def test_readme_has_the_commands_this_test_expects() -> None:
    rows = table_commands()
    assert len(block_commands()) >= 6
    assert len(rows) >= 30
    assert {"fleet", "fleet status", "fleet verify", "fleet doctor"} <= set(rows)


@pytest.fixture
def here(fleet: Fleet, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what README's commands name, and a daemon that has run one job."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(tiny_model, tmp_path / "model.gguf")
    (tmp_path / "fleet.json").write_text('[{"name": "lab", "gpu": "RTX 4090", "ram": "64GB"}]')
    (tmp_path / "asked.jsonl").write_text('{"prompt": "hello"}\n')
    (tmp_path / ".env").write_text("COLOUR=blue\n")
    (tmp_path / "make").write_text("#!/bin/sh\necho $COLOUR > out.txt\n")
    (tmp_path / "make").chmod(0o755)
    fleet.up()
    fleet.ok("run", "model.gguf", "--prompt", "hello", "--tokens", 8)
    return tmp_path


def filled(command: str, fleet: Fleet) -> list[str]:
    """The command's words with something real in the places README leaves open."""
    job = fleet.newest_job()
    places = {
        "MODEL": "model.gguf",
        "[MODEL]": "model.gguf",
        "./model.gguf": "model.gguf",
        "TEXT": "hello",
        "COMMAND": "true",
        "…": "",
        "ID": job,
        "A": "RTX 4090",
        "B": "RTX 3090",
        "--detach": "--detach",
        "make": "./make",
        "APP": "aider",
    }
    words = [places.get(word, word) for word in shlex.split(command.split(" > ")[0])[1:]]
    if "model.gguf" in words:
        words = ["1k" if word == "8k" else word for word in words]  # its length
    if "FILE" in words:
        name = "fleet.json" if "--fleet" in words else "ledger.jsonl"
        words = [name if word == "FILE" else word for word in words]
    if words[:1] in (["events"], ["logs"]) and "-f" in words:
        words.remove("-f")  # it follows until Ctrl-C
    if words[:1] == ["chat"]:
        words += ["-p", "hello", "--tokens", "8"]  # nobody is there to type
    if words == ["dashboard"]:
        words.append("--no-open")  # nobody looks
    if words[:2] == ["keys", "revoke"]:
        words.append("-y")
    if words[:2] == ["proxy", "--as"]:
        words += ["--port", str(free_port())]  # the usual one may be taken
    return [word for word in words if word]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# The test's own daemon is up already, and the job it ran has ended.
# One card alone does not hold 70B.
ORDINARY_NO = {
    "fleet up --detach": {3},
    "fleet cancel ID": {0, 3},  # a job begun with -d may be over by then
}


def test_every_command_of_the_readme_runs(fleet: Fleet, here: Path) -> None:
    failed: list[str] = []
    for command in dict.fromkeys([*block_commands(), *table_commands()]):
        if command in NOT_HERE:
            continue
        words = filled(command, fleet)
        if words[:1] in (["run"], ["bench"], ["calibrate"]):
            words[1:1] = [] if "--" in words else ["--tokens", "8"] if words[0] == "run" else []
        done = fleet.run(*words)
        if done.code not in ORDINARY_NO.get(command, {0}):
            failed.append(f"{command} -> fleet {words}: {done.code} {done.err.strip()[-300:]}")
    assert not failed, "\n".join(failed)
