"""Commands with files of their own, as their user meets them."""

import json
from pathlib import Path

from tests.end_to_end.conftest import Fleet

SCRIPT = 'cat in/data.txt; printf "$GREETING" > out.txt; mkdir sub; ln -s /etc/passwd sub/link; pwd'


def test_a_command_runs_in_a_copy_of_its_folder_and_gives_back_what_it_left(
    fleet: Fleet, tmp_path: Path
) -> None:
    fleet.up()
    source = tmp_path / "source"
    (source / "in").mkdir(parents=True)
    (source / "in" / "data.txt").write_text("given\n")
    env_file = tmp_path / "env"
    env_file.write_text('# a comment\nGREETING="$(touch x) `id`"\nexport OTHER=1\n')
    words = ("run", "--workdir", source, "--env-file", env_file, "--", "sh", "-c", SCRIPT)
    done = fleet.run(*words)
    assert done.code == 0, done.err
    first, folder = done.out.splitlines()
    assert first == "given"
    assert folder != str(source)
    job_id = fleet.newest_job()
    listed = json.loads(fleet.ok("job", job_id, "--files", "-o", "json"))
    assert [(one["path"], one["size_bytes"]) for one in listed["files"]] == [
        ("out.txt", 15),
        ("in/data.txt", 6),
    ]
    assert fleet.ok("job", job_id, "--get", "out.txt") == "$(touch x) `id`"
    assert not (source / "out.txt").exists()
    for path in ("sub/link", "../launch.json", "/etc/passwd", "nothing"):
        done = fleet.run("job", job_id, "--get", path)
        assert done.code != 0, path
        assert "root:" not in done.out
    events = fleet.ok("events", "-n", 100, "-o", "json")
    assert "data.txt" not in events
    assert "GREETING" not in events
    erased = json.loads(fleet.ok("forget", job_id, "-o", "json"))
    assert erased["kept"] == []
    done = fleet.run("job", job_id, "--files")
    assert (done.code, done.out) == (0, "its folder is gone from where it ran\n")
    assert not list((fleet.home / "jobs").glob("*/files/*"))


def test_what_cant_go_along_is_said_before_anything_is_submitted(
    fleet: Fleet, tmp_path: Path
) -> None:
    fleet.up()
    (tmp_path / "out").symlink_to("/etc/passwd")
    done = fleet.run("run", "--workdir", tmp_path, "--", "true")
    assert "out is a link that leaves" in done.err
    done = fleet.run("run", "--workdir", tmp_path / "nothing", "--", "true")
    assert "no folder" in done.err
    bad = tmp_path / "env"
    bad.write_text("A=1\nnonsense\n")
    done = fleet.run("run", "--env-file", bad, "--", "true")
    assert done.code == 2
    assert "line 2 is no NAME=VALUE" in done.err
    assert fleet.json("ps", "-a") == []
    assert fleet.run("run", "model.gguf", "--workdir", tmp_path, "--prompt", "x").code == 2
