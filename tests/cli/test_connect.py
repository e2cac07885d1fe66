"""`fleet connect`: what each tool is told, and that joining its file loses nothing of it."""

import json
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mesh.cli.app import fleet
from mesh.cli.exits import Stop, code_of
from mesh.cli.serving import asking
from mesh.cli.serving import connect as command
from mesh.cli.serving.connecting import APPS, Address, File, NotUnderstood, joined, settings

URL = "http://127.0.0.1:7435"
TO = Address(url=URL, model="qwen3-8b")
WITH_KEY = Address(url=URL, model="qwen3-8b", key="secret")


class Daemon:
    def __init__(self, **said: Any) -> None:
        self.said = said

    def get(self, path: str) -> Any:
        assert path == "/v1/status"
        return self.said


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, and a daemon with an address."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setattr(Path, "home", lambda: folder)
    for name in ("CODEX_HOME", "XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    answer(monkeypatch, gateway={"url": URL + "/"})
    serves(monkeypatch)
    return folder


def answer(monkeypatch: pytest.MonkeyPatch, **said: Any) -> None:
    monkeypatch.setattr(command, "need_daemon", lambda _: Daemon(**said))


def serves(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(asking, "models_at", lambda url: dict.fromkeys(names, True))


def ask(*args: str, width: int = 80) -> Result:
    return CliRunner().invoke(fleet, ["connect", *args], env={"COLUMNS": str(width)})


def write(app: str, *more: str) -> dict[str, Any]:
    done = ask(app, "-m", "qwen3-8b", "-y", "-o", "json", *more)
    assert done.exit_code == 0, done.output
    (one,) = json.loads(done.stdout)["written"]
    assert isinstance(one, dict)
    return one


def stopped(*args: str) -> Stop:
    error = ask(*args).exception
    assert isinstance(error, Stop)
    assert "\n" not in error.text
    return error


@pytest.mark.parametrize("app", sorted(APPS))
@pytest.mark.parametrize("width", [60, 80])
def test_each_tool_is_told_the_address_and_the_model(app: str, width: int, home: Path) -> None:
    done = ask(app, "--model", "qwen3-8b", width=width)
    assert done.exit_code == 0, done.output
    assert URL in done.stdout
    assert ("qwen3-8b" in done.stdout) == (app != "open-webui")
    assert max(len(line) for line in done.output.splitlines()) <= width
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("app", sorted(APPS))
def test_the_same_as_data(app: str) -> None:
    said = json.loads(ask(app, "-m", "qwen3-8b", "-o", "json").stdout)
    assert (said["app"], said["url"], said["written"]) == (app, URL, [])
    found = settings(app, TO)
    assert said["environment"] == found.environment
    assert [one["path"] for one in said["files"]] == [f"~/{one.path}" for one in found.files]
    assert said["files"] or said["environment"] or said["words"]


def test_openai_s_base_ends_in_v1_and_anthropic_s_does_not() -> None:
    assert settings("open-webui", TO).environment["OPENAI_API_BASE_URL"] == f"{URL}/v1"
    assert settings("claude-code", TO).environment["ANTHROPIC_BASE_URL"] == URL


@pytest.mark.parametrize("app", sorted(APPS))
def test_no_tool_is_given_an_empty_key(app: str) -> None:
    found = settings(app, TO)
    assert all(found.environment.values())
    said = str(settings(app, WITH_KEY))
    assert "secret" in said


def test_codex_reads_its_key_from_a_variable_and_speaks_responses() -> None:
    found = settings("codex", WITH_KEY)
    told = tomllib.loads(found.files[0].text)
    assert told["model"] == "qwen3-8b"
    provider = told["model_providers"][told["model_provider"]]
    assert (provider["base_url"], provider["wire_api"]) == (f"{URL}/v1", "responses")
    assert found.environment == {provider["env_key"]: "secret"}
    assert "env_key" not in settings("codex", TO).files[0].text
    assert "and in its environment" in ask("codex", "-m", "m", "--key", "k").stdout
    assert "or in its environment" in ask("aider", "-m", "m").stdout


def test_a_name_with_quotes_stays_one_text() -> None:
    odd = Address(url=URL, model='a"b\\c: é😀 #x')
    assert tomllib.loads(settings("codex", odd).files[0].text)["model"] == odd.model
    (line,) = (
        one for one in settings("continue", odd).files[0].text.splitlines() if 'ame: "' in one
    )
    assert json.loads(line.partition(": ")[2]) == odd.model


def test_a_missing_name_is_said_and_not_written(home: Path) -> None:
    done = ask("codex")
    assert 'model = "MODEL"' in done.stdout
    assert "fleet connect codex --model NAME" in done.stderr
    assert code_of(stopped("codex", "-y")) == 2
    assert ask("open-webui", "-y").exit_code == 0
    assert list(home.iterdir()) == []


def test_the_only_model_that_is_served_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    serves(monkeypatch, "tiny")
    assert "openai/tiny" in ask("aider").stdout
    serves(monkeypatch, "tiny", "other")
    assert "openai/MODEL" in ask("aider").stdout


def test_a_daemon_without_an_address_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for said in ({}, {"gateway": None}, {"gateway": {}}, {"gateway": {"url": 7}}):
        answer(monkeypatch, **said)
        error = stopped("aider")
        assert (error.text, code_of(error)) == ("this daemon has no model address", 3)
        assert error.hint == "fleet down, then fleet up --detach"


def test_a_new_file_is_its_owner_s_alone(home: Path) -> None:
    said = write("opencode")
    path = home / ".config/opencode/opencode.json"
    told = json.loads(path.read_text())
    assert told["model"] == "fleet/qwen3-8b"
    assert told["provider"]["fleet"]["options"]["baseURL"] == f"{URL}/v1"
    assert (said["state"], said["backup"]) == ("written", "")
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_there_keeps_all_it_holds_and_a_copy_stays(home: Path) -> None:
    path = home / ".claude/settings.json"
    path.parent.mkdir()
    there = {"hooks": {"x": [1, 2.5, None, "é"]}, "env": {"A": "b", "ANTHROPIC_BASE_URL": "old"}}
    path.write_text(before := json.dumps(there), encoding="utf-8")
    path.chmod(0o640)
    said = write("claude-code")
    told = json.loads(path.read_text(encoding="utf-8"))
    assert told["hooks"] == there["hooks"]
    assert (told["env"]["A"], told["env"]["ANTHROPIC_BASE_URL"]) == ("b", URL)
    assert said["replaced"] == ["env.ANTHROPIC_BASE_URL"]
    assert Path(said["backup"]).read_text() == before
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o640
    assert write("claude-code")["state"] == "is so already"
    assert len(list(path.parent.iterdir())) == 2


def test_an_older_copy_is_not_written_over(home: Path) -> None:
    path = home / ".claude/settings.json"
    path.parent.mkdir()
    path.write_text('{"first": 1}')
    write("claude-code")
    write("claude-code", "--key", "other")
    copies = sorted(path.parent.glob("*.before-fleet*"))
    assert json.loads(copies[0].read_text()) == {"first": 1}
    assert len(copies) == 2


@pytest.mark.parametrize(
    ("there", "says"),
    [
        ('{"a": 1, // why\n}', "no plain JSON"),
        ("[1]", "no JSON object"),
        ('{"env": "x"}', "no object at 'env'"),
        ('{"a": {"b": 1, "b": 2}}', "says 'b' twice"),
        ('{"a": 1e999}', "no plain JSON"),
        ('{"a":' * 100_000, "no plain JSON"),
        ("\ufeff{}", "no plain JSON"),
    ],
)
def test_a_file_that_is_not_understood_stays(there: str, says: str, home: Path) -> None:
    path = home / ".claude/settings.json"
    path.parent.mkdir()
    path.write_text(there, encoding="utf-8")
    error = stopped("claude-code", "-m", "m", "-y")
    assert says in error.text
    assert "nothing is written" in error.hint
    assert path.read_text(encoding="utf-8") == there
    assert len(list(path.parent.iterdir())) == 1


def test_bytes_that_are_no_text_stay(home: Path) -> None:
    path = home / ".claude/settings.json"
    path.parent.mkdir()
    path.write_bytes(b"\xff\xfe{")
    assert "no text in UTF-8" in stopped("claude-code", "-m", "m", "-y").text
    path.unlink()
    path.mkdir()
    assert "no file of settings" in stopped("claude-code", "-m", "m", "-y").text


@pytest.mark.parametrize("app", ["codex", "continue", "aider"])
def test_other_files_are_written_new_and_never_rewritten(app: str, home: Path) -> None:
    assert write(app)["state"] == "written"
    path = home / settings(app, TO).files[0].path
    ours = path.read_text()
    path.write_text(with_more := f"# mine\n{ours}\n# more\n")
    assert write(app)["state"] == "is so already"
    path.write_text("# mine alone\n")
    done = ask(app, "-m", "qwen3-8b", "-y")
    assert ours.splitlines()[0] in done.stdout
    assert isinstance(done.exception, Stop)
    assert "not rewritten" in done.exception.text
    assert path.read_text() == "# mine alone\n"
    assert with_more.startswith("# mine")


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_out_of_home_is_not_followed(home: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (home / ".claude").symlink_to(outside)
    assert "link out of your home" in stopped("claude-code", "-m", "m", "-y").text
    assert list(outside.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_within_home_stays_one(home: Path) -> None:
    (home / ".claude").mkdir()
    real = home / "dotfiles.json"
    real.write_text('{"a": 1}')
    (home / ".claude/settings.json").symlink_to(real)
    write("claude-code")
    assert (home / ".claude/settings.json").is_symlink()
    assert json.loads(real.read_text())["a"] == 1


def test_a_tool_whose_files_lie_elsewhere_is_left_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEX_HOME", "/elsewhere")
    assert "CODEX_HOME" in stopped("codex", "-m", "m", "-y").text
    assert list(home.iterdir()) == []
    monkeypatch.setenv("CODEX_HOME", str(home / ".codex"))
    assert write("codex")["state"] == "written"


def test_what_has_no_file_says_so() -> None:
    done = ask("cline", "-m", "m", "-y")
    assert (done.exit_code, "nothing is written" in done.stderr) == (0, True)


def test_an_empty_file_is_as_none() -> None:
    file = File(path="x", content={"a": 1})
    whole = joined(" \n", file)
    assert whole is not None
    assert json.loads(whole.text) == {"a": 1}
    with pytest.raises(NotUnderstood):
        joined("7", file)


def test_a_tool_that_is_not_known_is_named_with_those_that_are() -> None:
    done = ask("emacs")
    assert done.exception is not None
    assert "opencode" in str(done.exception) + done.output
