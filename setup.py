"""Compiles mathcore with mypyc where a C compiler exists; elsewhere it installs as plain Python.

FLEET_COMPILE=0 skips the compiler, FLEET_COMPILE=require makes its absence an error.
"""

import os
from pathlib import Path

from setuptools import setup

MODE = os.environ.get("FLEET_COMPILE", "auto")


def extensions() -> list:
    if MODE == "0":
        return []
    from mypyc.build import mypycify

    sources = sorted(str(path) for path in Path("mathcore").rglob("*.py"))
    found = mypycify(["--strict", *sources], group_name="mathcore", opt_level="2")
    for extension in found:
        extension.optional = MODE != "require"
    return found


setup(ext_modules=extensions())
