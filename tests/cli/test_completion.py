"""What a shell asks when somebody presses Tab, and what it is told."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mesh.cli.app import HOMES, fleet

ROOT = Path(__file__).parents[2]


def told(*words: str, loads: str = "") -> str:
    """What completing the last word answers; `loads` has the modules it loaded printed instead."""
    env = os.environ | {
        "_FLEET_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["fleet", *words]),
        "COMP_CWORD": str(len(words)),
        "PYTHONPATH": str(ROOT),
        "PYTHONSAFEPATH": "1",
    }
    program = "import sys; from mesh.cli import main\ntry: main()\nexcept SystemExit: pass\n"
    program += f"print([m for m in sys.modules if m.startswith({loads!r})])" if loads else ""
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_told_how_to_ask(shell: str) -> None:
    said = CliRunner().invoke(fleet, ["completion", shell])
    assert said.exit_code == 0
    assert f"_FLEET_COMPLETE={shell}_complete" in said.stdout
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=said.stdout, text=True, check=True, timeout=60)


def test_another_shell_is_bad_input() -> None:
    assert CliRunner().invoke(fleet, ["completion", "csh"]).exit_code == 2


def test_commands_verbs_and_options_are_completed() -> None:
    assert told("serv").split() == ["plain,serve", "plain,service"]
    assert told("service", "in").split() == ["plain,install"]
    assert "plain,--now" in told("service", "install", "--").split()
    assert "plain,--version" in told("--").split()
    assert len(told("").split()) == len(HOMES)


def test_completing_a_command_loads_none_of_them() -> None:
    assert told("", loads="mesh.cli.jobs").splitlines()[-1] == "[]"
    assert "mesh.cli.jobs.jobs" in told("ps", "-", loads="mesh.cli.jobs").splitlines()[-1]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_itself_completes_with_it(tmp_path: Path) -> None:
    said = CliRunner().invoke(fleet, ["completion", "bash"]).stdout
    (tmp_path / "fleet").write_text(f'#!/bin/sh\nexec {sys.executable} -m mesh "$@"\n')
    (tmp_path / "fleet").chmod(0o755)
    script = said + "\nCOMP_WORDS=(fleet restor); COMP_CWORD=1; _fleet_completion fleet"
    script += '\necho "${COMPREPLY[@]}"'
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["restore"]
