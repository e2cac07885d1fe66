"""The `fleet` command. Imports nothing until it runs, so a cold start stays short."""

from typing import Final

TOO_NEW: Final = (
    "fleet: automerge 1.0.0rc1 is missing: it has no wheel for Python {}.{} and can't be built "
    "for it. try: install fleet-ledger with Python 3.12 or 3.11"
)


def main() -> None:
    """Run one command line and exit with its code."""
    import sys

    if sys.version_info >= (3, 13):  # pip refuses this Python, but can be told not to
        from importlib.util import find_spec

        if find_spec("automerge") is None:
            sys.exit(TOO_NEW.format(*sys.version_info))

    from mesh.cli.app import run

    sys.exit(run(sys.argv[1:]))
