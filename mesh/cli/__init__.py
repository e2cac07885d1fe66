"""The `fleet` command. Imports nothing until it runs, so a cold start stays short."""


def main() -> None:
    """Run one command line and exit with its code."""
    import sys

    from mesh.cli.app import run

    sys.exit(run(sys.argv[1:]))
