"""The file that each manager of services is given, letter by letter, and what is safe in it.

systemd's is checked by systemd itself here, and run by it in tests/mesh/test_service.py. The other
two are written by the book: no test of ours proves them.
"""

import plistlib
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from providers.service.launchd import Launchd
from providers.service.manager import OPEN_FILES, Manager, Service, ServiceError
from providers.service.systemd import Systemd
from providers.service.windows import TaskScheduler

GOLDEN = Path(__file__).parents[2] / "golden" / "service"
COMMAND = ("/opt/fleet/bin/python", "-P", "-m", "mesh", "up", "--log")


def told(home: str = "/home/ana/.local/share/fleet-ledger", python: str = COMMAND[0]) -> Service:
    return Service(
        title="Fleet Ledger's daemon",
        command=(python, *COMMAND[1:]),
        variables=(("FLEET_HOME", home), ("PATH", "/opt/fleet/bin:/usr/bin")),
        final_codes=(2, 4),
    )


def managers(folder: Path) -> dict[str, Manager]:
    return {
        "fleet-ledger.service": Systemd(folder),
        "fleet-ledger.plist": Launchd(folder),
        "fleet-ledger.task.xml": TaskScheduler(folder),
    }


@pytest.mark.parametrize("name", sorted(managers(Path())))
def test_a_managers_file_is_as_it_was(tmp_path: Path, name: str) -> None:
    manager = managers(tmp_path)[name]
    assert manager.render(told()) == (GOLDEN / name).read_text(encoding="utf-8")
    assert manager.file.name == name


def test_what_nobody_of_ours_ran_says_so_in_its_head(tmp_path: Path) -> None:
    for name, manager in managers(tmp_path).items():
        head = manager.render(told())[:300]
        assert ("Unproven" in head) is not manager.proven, name


HARD = '/home/ana maria/50% "off"/$HOME/\\x/ümlaut'


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
@pytest.mark.parametrize("home", ["/home/ana/fleet", HARD])
def test_systemd_finds_no_fault_with_the_unit(tmp_path: Path, home: str) -> None:
    unit = tmp_path / "fleet-ledger.service"
    unit.write_text(Systemd(tmp_path).render(told(home, shutil.which("python3") or "")))
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(unit)],
        capture_output=True, text=True, timeout=60, check=False,
        env={"XDG_RUNTIME_DIR": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_does_find_a_fault_where_there_is_one(tmp_path: Path) -> None:
    unit = tmp_path / "fleet-ledger.service"
    unit.write_text(Systemd(tmp_path).render(told(python="/no/such/python")))
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(unit)],
        capture_output=True, text=True, timeout=60, check=False,
        env={"XDG_RUNTIME_DIR": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert "/no/such/python" in done.stderr


def test_a_property_list_holds_what_it_was_told_whatever_it_is(tmp_path: Path) -> None:
    hard = HARD + "/<&>--"
    found = plistlib.loads(Launchd(tmp_path).render(told(hard, "/a b/py&thon")).encode())
    assert found["ProgramArguments"] == ["/a b/py&thon", *COMMAND[1:]]
    assert found["EnvironmentVariables"]["FLEET_HOME"] == hard
    assert found["KeepAlive"] == {"SuccessfulExit": False}


def test_a_daemon_may_hold_more_files_open_than_a_manager_gives_by_itself(tmp_path: Path) -> None:
    unit = Systemd(tmp_path).render(told()).splitlines()
    assert f"LimitNOFILE={OPEN_FILES}" in unit
    agent = plistlib.loads(Launchd(tmp_path).render(told()).encode())
    assert agent["SoftResourceLimits"] == {"NumberOfFiles": OPEN_FILES}
    assert OPEN_FILES > 1024


def test_a_task_is_xml_and_refuses_what_cmd_would_read_as_its_own(tmp_path: Path) -> None:
    manager = TaskScheduler(tmp_path)
    task = ET.fromstring(
        manager.render(told("C:\\Users\\ana maria\\fleet", "C:\\Py 3\\python.exe"))
    )
    arguments = task.findtext(".//{*}Arguments") or ""
    assert 'set "FLEET_HOME=C:\\Users\\ana maria\\fleet"&&' in arguments
    assert '"C:\\Py 3\\python.exe" "-P" "-m" "mesh"' in arguments
    with pytest.raises(ServiceError, match="cannot be told"):
        manager.render(told("C:\\100%"))


def test_a_path_with_a_line_break_cannot_add_a_line_to_a_unit() -> None:
    with pytest.raises(ServiceError, match="control characters"):
        told("/home/ana\nExecStartPre=/bin/evil")
