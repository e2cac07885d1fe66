"""A compile that fails leaves plain Python and one line; FLEET_COMPILE=require ends the build."""

import sys
from pathlib import Path

import pytest

from tests.install.conftest import ROOT, package_files, run

pytestmark = pytest.mark.install
PURE = "fleet-ledger: mathcore stays pure Python (same answers, slower): "
# Stands for gcc, and is as quick as it can be: makes empty files, and fails on one source.
FAILING_CC = """#!/bin/sh
case "$*" in *___units.c*) exit 1 ;; esac
while [ $# -gt 1 ]; do [ "$1" = -o ] && : > "$2"; shift; done
"""


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sdist")
    build = (sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", made)
    run(*build, ROOT, cwd=made)
    return next(made.glob("*.tar.gz"))


@pytest.fixture
def source(sdist: Path, tmp_path: Path) -> Path:
    """The sdist, unpacked."""
    run("tar", "xzf", sdist, cwd=tmp_path)
    return next(tmp_path.glob("fleet_ledger-*"))


def build(source: Path, **env: str) -> tuple[int, list[str]]:
    """(exit code, lines on stderr) of a build without isolation."""
    words = (sys.executable, "setup.py", "--quiet", "build", "--build-lib", "build/lib")
    done = run(*words, cwd=source, check=False, **env)
    return done.returncode, done.stderr.splitlines()


def reasons(lines: list[str]) -> list[str]:
    return [line.removeprefix(PURE) for line in lines if line.startswith(PURE)]


def is_pure(source: Path) -> bool:
    """All of the packages, nothing else, and the reason."""
    made = {path.relative_to(source / "build/lib").as_posix()
            for path in (source / "build/lib").rglob("*") if path.is_file()}  # fmt: skip
    return made == package_files(source) | {"mathcore/_pure.txt"}


def break_a_type(source: Path) -> None:
    with (source / "mathcore/units.py").open("a") as module:
        module.write('\nWRONG: int = "text"\n')


def test_a_compiler_that_only_fails_gives_plain_python_and_one_line(source: Path) -> None:
    code, lines = build(source, CC="/bin/false")
    assert code == 0
    assert reasons(lines) == ["/bin/false does not compile for this Python (is Python.h there?)"]
    assert is_pure(source)


def test_a_compiler_that_fails_on_one_file_leaves_no_extension_and_nothing_of_an_earlier_build(
    source: Path,
) -> None:
    compiler = source.parent / "cc"
    compiler.write_text(FAILING_CC)
    compiler.chmod(0o755)
    for left in ("mathcore/units.cpython-311-x86_64-linux-gnu.so", "mesh/gone.py", "old.so"):
        path = source / "build/lib" / left
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    code, lines = build(source, CC=str(compiler))
    assert code == 0
    (why,) = reasons(lines)
    assert why.startswith("the C compiler fails on ")
    assert why.endswith("units.c")
    assert is_pure(source)


def test_a_type_error_gives_plain_python_and_names_its_line(source: Path) -> None:
    break_a_type(source)
    code, lines = build(source)
    assert code == 0
    (why,) = reasons(lines)
    assert why.startswith("mypyc refuses it: mathcore/units.py:")
    assert is_pure(source)


def test_required_a_type_error_ends_the_build(source: Path) -> None:
    break_a_type(source)
    code, lines = build(source, FLEET_COMPILE="require")
    assert code == 1
    assert lines[-1].startswith("error: mathcore is not compiled: mypyc refuses it: mathcore/units")


def test_required_a_missing_compiler_ends_the_build(source: Path) -> None:
    code, lines = build(source, FLEET_COMPILE="require", CC="/nonexistent/cc")
    assert code == 1
    no = "error: mathcore is not compiled: no C compiler (/nonexistent/cc is not there)"
    assert lines[-1] == no


NEWER = "import sys, runpy, setuptools.command.build_ext; sys.version_info = (3, 13, 1, 'final', 0)"


def test_a_newer_python_is_refused_in_one_line_that_names_what_is_missing(source: Path) -> None:
    code = f"{NEWER}; runpy.run_path('setup.py')"
    done = run(sys.executable, "-c", code, cwd=source, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "needs Python 3.11 or 3.12, and this is 3.13" in line
    assert "automerge 1.0.0rc1 has no wheel" in line


def test_fleet_on_a_newer_python_says_in_one_line_that_automerge_is_missing(source: Path) -> None:
    code = f"{NEWER}; sys.modules['automerge'] = None; from mesh.cli import main; main()"
    done = run(sys.executable, "-c", code, cwd=source, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("fleet: automerge 1.0.0rc1 is missing: it has no wheel for Python 3.13")
