"""Compiles mathcore with mypyc where a C compiler works; elsewhere it installs as plain Python.

FLEET_COMPILE=0 skips the compiler; FLEET_COMPILE=require makes its failure an error.
"""

import contextlib
import io
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Distribution, Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext

MODE = os.environ.get("FLEET_COMPILE", "auto")
# A C compiler takes up to 300 MB, and in a container all the host's processors are counted.
WORKERS = min(os.cpu_count() or 1, 8)
# Nobody's settings and nobody's stubs, so every machine makes the same C. scripts/check is strict.
MYPY = ["--config-file=", "--no-site-packages", "--ignore-missing-imports"]
# -O1 takes 60 % of -O2's time, and plans are as quick: docs/measurements/install.md.
GCC = {"opt_level": "1", "debug_level": "0", "multi_file": True}
GROUP = "mathcore_native"  # called "mathcore", its object file would be the package's too
REASON = "mathcore/_pure.txt"  # installed where nothing is compiled: why; `fleet doctor` says it
NEWEST = (3, 12)
TOO_NEW = (
    "error: fleet-ledger needs Python 3.11 or 3.12, and this is {}.{}: automerge 1.0.0rc1 has no "
    "wheel for it and does not build on it, not even with Rust. "
    "Try: pipx install --python python3.12 ..., or uv tool install --python 3.12 ..."
)


class NotCompiled(Exception):
    """Why, in one line."""


def need_compiler() -> None:
    """NotCompiled unless this machine builds the smallest extension there is."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text("#include <Python.h>\nPyMODINIT_FUNC PyInit_probe(void) { return 0; }\n")
        probe = Extension("probe", [str(source)])
        command = build_ext(Distribution({"name": "probe", "ext_modules": [probe]}))
        command.build_lib = command.build_temp = folder
        try:
            command.ensure_finalized()
            command.run()
        except (Exception, SystemExit) as error:
            raise NotCompiled(_no_compiler(command, error)) from error


def _no_compiler(command: build_ext, error: BaseException) -> str:
    name = next(iter(getattr(command.compiler, "compiler_so", ())), "")
    if not name:  # Windows: setuptools' own words say what to install
        return str(error)
    if not shutil.which(name):
        return f"no C compiler ({name} is not there)"
    return f"{name} does not compile for this Python (is Python.h there?)"


def extensions() -> list[Extension]:
    """One for each module of mathcore and one they share; NotCompiled when mypyc refuses."""
    sources = sorted(str(path) for path in Path("mathcore").rglob("*.py"))
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            from mypyc.build import mypycify

            found = mypycify([*MYPY, *sources], group_name=GROUP, **GCC)
    except (Exception, SystemExit) as error:
        print(said.getvalue(), file=sys.stderr)
        first = next((x for x in said.getvalue().splitlines() if "error:" in x), repr(error))
        raise NotCompiled(f"mypyc refuses it: {first}") from error
    for extension in found:  # a newer C compiler's new warning stops nobody
        extension.extra_compile_args = [x for x in extension.extra_compile_args if x != "-Werror"]
    return found


class Build(build):
    """The Python files, then every extension or none."""

    def run(self) -> None:
        # What an earlier build left there would be installed too.
        if Path(self.build_lib).resolve().is_relative_to(Path(self.build_base).resolve()):
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()
        try:
            self.compile()
        except Exception as error:
            self.stay_pure(str(error) or repr(error))
        wheel = self.distribution.get_command_obj("bdist_wheel", create=False)
        if wheel is not None:  # its tag was chosen before anybody knew
            wheel.root_is_pure = not self.distribution.has_ext_modules()

    def compile(self) -> None:
        if MODE == "0":
            raise NotCompiled("FLEET_COMPILE=0")
        need_compiler()
        self.distribution.ext_modules = extensions()
        self.run_command("build_ext")

    def stay_pure(self, why: str) -> None:
        if MODE == "require":
            raise SystemExit(f"error: mathcore is not compiled: {why}")
        if self.distribution.has_ext_modules():
            for made in self.get_finalized_command("build_ext").get_outputs():
                Path(made).unlink(missing_ok=True)
        self.distribution.ext_modules = []
        Path(self.build_lib, REASON).write_text(f"{why}\n", encoding="utf-8")
        print(f"fleet-ledger: mathcore stays pure Python (same answers, slower): {why}",
              file=sys.stderr)  # fmt: skip


class BuildExtensions(build_ext):
    """As setuptools does, but as many files at once as there are processors."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or WORKERS

    def build_extensions(self) -> None:
        of_many = self.compiler.compile

        def compile(sources: list[str], *args: object, **named: object) -> list[str]:
            def one(source: str) -> list[str]:
                try:
                    return of_many([source], *args, **named)
                except Exception as error:
                    raise NotCompiled(f"the C compiler fails on {source}") from error

            with ThreadPoolExecutor(WORKERS) as pool:
                return [path for made in pool.map(one, sources) for path in made]

        self.compiler.compile = compile
        super().build_extensions()


if sys.version_info[:2] > NEWEST:
    sys.exit(TOO_NEW.format(*sys.version_info))
setup(cmdclass={"build": Build, "build_ext": BuildExtensions})
