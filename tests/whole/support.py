"""Loads the demo's model writer, which lives with the scripts."""

import importlib.util
from pathlib import Path
from types import ModuleType

WRITER = Path(__file__).parent.parent.parent / "scripts" / "tiny_gguf.py"


def load_tiny_gguf() -> ModuleType:
    """scripts/tiny_gguf.py as a module."""
    spec = importlib.util.spec_from_file_location("tiny_gguf", WRITER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
