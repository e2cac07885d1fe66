"""The program that holds an engine on a host: one zip of our own modules, for any Python there.

It is the same program that runs on this machine (`providers.engine_child.supervisor`), so a job is
answered and measured alike wherever it runs. The modules it takes need nothing but the standard
library; the zip has no date in it and is named by its hash.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from importlib.resources import files
from typing import Final

MODULES: Final = (
    "base",
    "cores",
    "durable",
    "hold",
    "log",
    "process",
    "runner",
    "tree",
    "engine.devices",
    "engine.dialects",
    "engine.llama_server",
    "engine.llamacpp",
    "engine.mlx",
    "engine.ollama",
    "engine.servers",
    "engine.setup",
    "engine.tgi",
    "engine.vllm",
    "engine_child.answering",
    "engine_child.asking",
    "engine_child.batch",
    "engine_child.engine_process",
    "engine_child.llama_server",
    "engine_child.llamacpp",
    "engine_child.store",
    "engine_child.supervisor",
)
FOLDERS: Final = ("", "engine/", "engine_child/")
# Read by any Python, so that an old one says what it lacks instead of a syntax error.
MAIN: Final = """import sys
if sys.version_info < (3, 10):
    sys.stderr.write("engine: needs Python 3.10 or later, not " + sys.version.split()[0] + "\\n")
    sys.exit(78)
from providers.engine_child.supervisor import main
sys.exit(main())
"""
_MADE: dict[str, tuple[str, bytes]] = {}


def engine_program() -> tuple[str, bytes]:
    """(name with its hash, bytes) of the zip; made once a process."""
    if "" not in _MADE:
        data = _zipped()
        _MADE[""] = f"engine-{hashlib.blake2b(data, digest_size=8).hexdigest()}.pyz", data
    return _MADE[""]


def _zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        _add(made, "__main__.py", MAIN.encode())
        for folder in FOLDERS:
            _add(made, f"providers/{folder}__init__.py", b"")
        for name in MODULES:
            path = f"{name.replace('.', '/')}.py"
            _add(made, f"providers/{path}", files("providers").joinpath(path).read_bytes())
    return out.getvalue()


def _add(made: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Without a date or anything else of this machine."""
    about = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    about.create_system, about.external_attr = 3, 0o600 << 16
    made.writestr(about, data, zipfile.ZIP_DEFLATED, 9)
