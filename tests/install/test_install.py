"""What a user installs, into an empty environment outside the checkout, works and is complete."""

import json
import os
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.install.conftest import (
    NOWHERE,
    PACKAGES,
    ROOT,
    Distribution,
    Installed,
    modules,
    package_files,
    run,
)

pytestmark = pytest.mark.install
PLAN = ("plan", "llama-3.1-8b", "--what-if", "RTX 4090", "--context", "8192")
SWEEP = ("sweep", "llama-3.1-8b", "--what-if", "RTX 4090", "--batch", "1..4", "--context", "2k..8k")


def names(archive: Path) -> set[str]:
    """The files in a wheel or an sdist, from the top of the tree."""
    if archive.suffix == ".whl":
        return set(zipfile.ZipFile(archive).namelist())
    with tarfile.open(archive) as opened:
        return {m.name.partition("/")[2] for m in opened.getmembers() if m.isfile()}


def of_packages(found: set[str]) -> set[str]:
    return {name for name in found if name.split("/")[0] in PACKAGES}


def extensions(found: set[str]) -> list[str]:
    return sorted(name for name in found if name.endswith(".so"))


def from_source(*words: str) -> object:
    """What the tree itself answers."""
    env = {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", "FLEET_HOME": os.devnull + "/none"}
    said = run(sys.executable, "-m", "mesh", *words, "-o", "json", cwd=Path("/"), **env)
    return json.loads(said.stdout)


def works(installed: Installed) -> None:
    """Every step of a first hour: ask, start, write, check, stop."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert installed.fleet("--version").split() == ["fleet", project["version"]]
    assert installed.json(*PLAN) == from_source(*PLAN)
    assert installed.json(*SWEEP) == from_source(*SWEEP)
    assert "fleet is up" in installed.fleet("up", "--detach")
    try:
        noted = installed.fleet("note", "from an empty environment").strip()
        assert noted in [event["id"] for event in installed.json("events")]
        installed.fleet("verify")
    finally:
        assert "fleet is down" in installed.fleet("down")


def test_the_sdist_holds_every_file_of_the_packages_and_what_it_takes_to_build(
    distribution: Distribution,
) -> None:
    found = names(distribution.sdist)
    assert of_packages(found) == package_files(ROOT)
    assert {"README.md", "LICENSE", "pyproject.toml", "setup.py", "MANIFEST.in"} <= found
    assert extensions(found) == []


def test_the_pure_wheel_holds_every_file_of_the_packages_and_the_reason(
    distribution: Distribution,
) -> None:
    found = names(distribution.pure)
    assert of_packages(found) == package_files(ROOT) | {"mathcore/_pure.txt"}
    assert extensions(found) == []


def test_the_compiled_wheel_has_an_extension_for_every_module_of_mathcore(
    distribution: Distribution,
) -> None:
    found = names(distribution.compiled)
    shared = [name for name in extensions(found) if "/" not in name]
    assert len(shared) == 1
    own = {name.partition(".")[0] + ".py" for name in extensions(found)} - {
        name.partition(".")[0] + ".py" for name in shared
    }
    assert own == {path.relative_to(ROOT).as_posix() for path in modules(ROOT)}
    assert of_packages(found) - set(extensions(found)) == package_files(ROOT)


def test_the_compiled_wheel_works(distribution: Distribution, tmp_path: Path) -> None:
    installed = Installed(tmp_path)
    installed.install(distribution.compiled)
    assert installed.doctor() == "compiled"
    works(installed)


def test_the_pure_wheel_works(distribution: Distribution, tmp_path: Path) -> None:
    installed = Installed(tmp_path)
    installed.install(distribution.pure)
    assert installed.doctor().startswith("pure Python")
    works(installed)


def test_the_sdist_compiled_on_the_users_machine_works(
    distribution: Distribution, tmp_path: Path
) -> None:
    installed = Installed(tmp_path)
    installed.install(distribution.sdist)
    assert installed.doctor() == "compiled"
    works(installed)


def test_the_sdist_works_pure_where_there_is_no_c_compiler_and_says_so(
    distribution: Distribution, tmp_path: Path
) -> None:
    installed = Installed(tmp_path)
    said = installed.install(distribution.sdist, **NOWHERE)
    why = "no C compiler (/nonexistent/cc is not there)"
    line = f"fleet-ledger: mathcore stays pure Python (same answers, slower): {why}"
    assert [row.strip() for row in said.splitlines()].count(line) == 1
    assert installed.doctor() == f"pure Python (same answers, slower): {why}"
    assert list(installed.site.rglob("mathcore/**/*.so")) == []
    works(installed)
