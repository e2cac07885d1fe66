"""Sixty strings that a shell would act on, in every place where a person types one."""

import json
import os
import sys
from pathlib import Path

from tests.end_to_end.conftest import Fleet
from tests.support.nasty import COMMAND, MARK, NASTY

SHOW = "import json, os; print(json.dumps({k: v for k, v in os.environ.items() if k[:3] == 'NX_'}))"


def nothing_ran(*folders: Path) -> bool:
    return not any(MARK in files for one in folders for _, _, files in os.walk(one))


def test_ids_prompts_names_and_models_that_a_shell_would_run_are_only_words(
    fleet: Fleet, tiny_model: Path, tmp_path: Path
) -> None:
    fleet.up()
    name = (
        f"-x; {COMMAND} $({COMMAND}) `{COMMAND}` && {COMMAND} | {COMMAND} > {MARK} 'q\" %s \u202e"
    )
    model = tmp_path / f"{name}.gguf"
    model.hardlink_to(tiny_model)
    file = tmp_path / f"{name}.jsonl"
    asked = [{"id": text, "prompt": text, "max_tokens": 2} for text in NASTY]
    file.write_text("".join(json.dumps(one) + "\n" for one in asked))
    words = ("run", model, "--context", 256, "--batch", 2, "--label", name, "--input", file)
    done = fleet.run(*words)
    assert done.code == 0, done.err
    rows = {row["id"]: row for row in map(json.loads, done.out.splitlines())}
    assert set(rows) == set(NASTY)
    served = fleet.json("serve", model, "--context", 256)
    assert served["state"] == "serving"
    fleet.ok("cancel", served["job_id"])
    fleet.ended(served["job_id"])
    assert nothing_ran(tmp_path, Path.cwd())


def test_environments_and_arguments_that_a_shell_would_run_reach_a_command_as_they_are(
    fleet: Fleet, tmp_path: Path
) -> None:
    fleet.up()
    given = {f"NX_{i}": text for i, text in enumerate(NASTY)}
    env = [word for key, text in given.items() for word in ("-e", f"{key}={text}")]
    done = fleet.run("run", *env, "--", sys.executable, "-c", SHOW)
    assert done.code == 0, done.err
    assert json.loads(done.out) == given
    show = "import json, sys; print(json.dumps(sys.argv[1:]))"
    done = fleet.run("run", "--", sys.executable, "-c", show, *NASTY)
    assert json.loads(done.out) == list(NASTY)
    assert nothing_ran(tmp_path, Path.cwd())
