"""The decoders of scripts/fuzz under atheris, which looks for inputs that reach new code.

Run by scripts/fuzz-guided, which installs atheris; argv: libFuzzer's own options.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mesh"]):
    import fuzz


def one(data: bytes) -> None:
    """Every decoder reads or refuses; anything else ends the run with the input."""
    for decode, refusal in fuzz.DECODERS.values():
        try:
            decode(data)
        except refusal:
            continue


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(fuzz.corpus()):
            (Path(folder) / str(number)).write_bytes(data)
        atheris.Setup([*sys.argv, folder], one)
        atheris.Fuzz()
