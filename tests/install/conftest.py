"""The distribution, built once, and environments that hold nothing else."""

import json
import os
import subprocess
import sys
import venv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("mathcore", "mesh", "providers")
NOWHERE = {"CC": "/nonexistent/cc"}  # a machine without a C compiler
# Nothing of the checkout: neither its modules nor its settings.
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "FLEET_"))}
LIMIT_S = 900  # a compile on a busy machine


def run(*command: object, cwd: Path, check: bool = True, **env: str) -> Any:
    """A finished process; with `check` one that failed fails the test, with what it said."""
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=CLEAN | env, capture_output=True,
        text=True, timeout=LIMIT_S,
    )  # fmt: skip
    if check:
        assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done


def package_files(root: Path) -> set[str]:
    """Every file of the packages but what Python and the compiler leave there."""
    return {
        path.relative_to(root).as_posix()
        for package in PACKAGES
        for path in (root / package).rglob("*")
        if path.is_file() and path.suffix not in {".pyc", ".so"}
    }


def modules(root: Path) -> list[Path]:
    """What is compiled."""
    return sorted((root / "mathcore").rglob("*.py"))


@dataclass
class Distribution:
    """What scripts/wheel builds."""

    folder: Path

    def one(self, pattern: str) -> Path:
        (found,) = self.folder.glob(pattern)
        return found

    @property
    def sdist(self) -> Path:
        return self.one("*.tar.gz")

    @property
    def pure(self) -> Path:
        return self.one("*-py3-none-any.whl")

    @property
    def compiled(self) -> Path:
        return self.one("*-cp3*.whl")


@dataclass
class Installed:
    """`fleet` in an environment of its own, with a home of its own."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def site(self) -> Path:
        (found,) = self.folder.glob("venv/lib/python*/site-packages")
        return found

    def install(self, what: Path, **env: str) -> str:
        """pip's output; `what` is all that goes in, besides what it needs."""
        venv.create(self.folder / "venv", with_pip=False)
        self.env = {
            "FLEET_HOME": str(self.folder / "home"), "HOME": str(self.folder),
            "FLEET_LISTEN": "127.0.0.1", "FLEET_DISCOVERY": "", "FLEET_MESH_PORT": "0",
            "FLEET_PAIRING_PORT": "0", "NO_COLOR": "1",
        }  # fmt: skip
        pip = (sys.executable, "-m", "pip", "--python", self.folder / "venv/bin/python")
        done = run(*pip, "install", "-v", what, cwd=self.folder, **env)
        return str(done.stdout + done.stderr)

    def fleet(self, *words: str) -> str:
        return str(run(self.folder / "venv/bin/fleet", *words, cwd=self.folder, **self.env).stdout)

    def json(self, *words: str) -> Any:
        return json.loads(self.fleet(*words, "-o", "json"))

    def doctor(self) -> str:
        """What doctor says of mathcore."""
        (state,) = [row["state"] for row in self.json("doctor") if row["check"] == "mathcore"]
        return str(state)


@pytest.fixture(scope="session")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Distribution:
    made = tmp_path_factory.mktemp("dist")
    run(ROOT / "scripts/wheel", made, cwd=ROOT)
    return Distribution(made)
