"""What each manager's tool is asked, and in which order; a stand-in writes it down.

That launchctl and schtasks answer as these stand-ins do is taken from their manuals alone.
"""

from pathlib import Path

import pytest

from providers.service import manager as managing
from providers.service.launchd import Launchd
from providers.service.manager import Manager, ServiceError, install, uninstall
from providers.service.systemd import Systemd
from providers.service.windows import TaskScheduler
from tests.providers.service.test_files import told

# Notes its arguments; says what the test wrote for the verb, and fails where that says so.
TOOL = """#!/bin/sh
echo "${0##*/} $*" >> "$ASKED"
for word in "$@"; do
    [ -f "$SAID/$word" ] && cat "$SAID/$word"
    [ -f "$SAID/$word.fails" ] && { cat "$SAID/$word.fails" >&2; exit 1; }
done
exit 0
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a file VERB is what a tool says to it, and VERB.fails that it refuses."""
    for name in ("systemctl", "loginctl", "launchctl", "schtasks"):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(TOOL)
        path.chmod(0o755)
    (tmp_path / "said").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("SAID", str(tmp_path / "said"))
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    return tmp_path / "said"


def asked(tools: Path) -> list[str]:
    """What was asked since the last time."""
    path = tools.parent / "asked"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def unit(*verbs: str) -> list[str]:
    return [f"systemctl --user {verb}" for verb in verbs]


NAME = "fleet-ledger.service"


def test_a_unit_is_read_anew_only_where_it_changed(tools: Path, tmp_path: Path) -> None:
    one = Systemd(tmp_path)
    assert install(one, told(), now=True)
    assert asked(tools) == unit("daemon-reload", f"enable {NAME}", f"restart {NAME}")
    assert not install(one, told(), now=True)
    assert asked(tools) == unit(f"enable {NAME}", f"start {NAME}")
    assert install(one, told("/elsewhere"), now=False)
    assert asked(tools) == unit("daemon-reload", f"enable {NAME}")
    assert uninstall(one)
    assert asked(tools) == unit(f"disable --now {NAME}")
    assert not uninstall(one)
    assert asked(tools) == []


def test_a_unit_that_cannot_be_stopped_keeps_its_file(tools: Path, tmp_path: Path) -> None:
    one = Systemd(tmp_path)
    install(one, told(), now=False)
    (tools / "disable.fails").write_text("first\nAccess denied\n")
    with pytest.raises(ServiceError, match="Access denied") as caught:
        uninstall(one)
    assert "status" in caught.value.hint
    assert one.file.exists()


def test_what_systemd_says_of_the_unit_is_read(tools: Path, tmp_path: Path) -> None:
    one = Systemd(tmp_path)
    lines = ("UnitFileState=enabled", "ActiveState=active", "SubState=running", "MainPID=77")
    (tools / "show").write_text("\n".join([*lines, "Result=exit-code", "NRestarts=3"]))
    found = one.standing()
    assert (found.installed, found.starts_at_login, found.pid) == (False, True, 77)
    assert found.text == "active (running), ended last with exit-code, restarted 3 times"
    (tools / "show").write_text("nonsense")
    assert one.standing().pid == 0


def test_lingering_is_advised_where_it_is_off_or_unknown(tools: Path, tmp_path: Path) -> None:
    assert Systemd(tmp_path).advice() == "loginctl enable-linger"
    (tools / "show-user").write_text("yes\n")
    assert Systemd(tmp_path).advice() == ""


def test_an_agent_is_loaded_once_and_kicked_where_it_is_the_same(
    tools: Path, tmp_path: Path
) -> None:
    one = Launchd(tmp_path)
    (tools / "print.fails").write_text("Could not find service\n")
    install(one, told(), now=True)
    assert [line.split()[1] for line in asked(tools)] == ["print", "bootstrap"]
    (tools / "print.fails").unlink()
    (tools / "print").write_text("\tstate = running\n\tpid = 88\n")
    assert (one.standing().pid, one.standing().text) == (88, "running")
    asked(tools)
    install(one, told(), now=True)
    install(one, told("/elsewhere"), now=True)
    uninstall(one)
    verbs = [line.split()[1] for line in asked(tools)]
    assert verbs == ["print", "kickstart", "print", "bootout", "bootstrap", "print", "bootout"]


def test_a_task_is_written_over_and_deleted_by_its_name(tools: Path, tmp_path: Path) -> None:
    one = TaskScheduler(tmp_path)
    install(one, told(), now=True)
    uninstall(one)
    verbs = [line.split()[1] for line in asked(tools)]
    assert verbs == ["/Create", "/End", "/Run", "/End", "/Delete"]


@pytest.mark.parametrize("kind", [Systemd, Launchd, TaskScheduler])
def test_a_tool_that_is_missing_or_hangs_is_one_line(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Manager]
) -> None:
    one = kind(tmp_path)  # type: ignore[call-arg]
    assert one.missing() == ""
    for tool in tools.parent.glob("bin/*"):
        tool.write_text("#!/bin/sh\nexec sleep 600\n")
    monkeypatch.setattr(managing, "TOOL_S", 0.2)
    assert "it does not answer" in one.missing()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "No such file" in one.missing()


def test_a_folder_that_cannot_be_written_is_one_line(tools: Path, tmp_path: Path) -> None:
    (tmp_path / "systemd").write_text("a file in the way")
    with pytest.raises(ServiceError, match="cannot write"):
        install(Systemd(tmp_path), told(), now=True)
    assert asked(tools) == []
