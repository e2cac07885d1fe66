"""What a command's end means: stable exit codes, and one line for every error."""

from typing import Final, NoReturn

OK: Final = 0
INTERNAL: Final = 1
USAGE: Final = 2
BROKEN_LEDGER: Final = 4
JOB_FAILED: Final = 100
NOT_FOUND: Final = 102
CANCELLED: Final = 103
NOTHING_FITS: Final = 104
UNREACHABLE: Final = 105
INTERRUPTED: Final = 130  # what shells report for Ctrl-C: 128 + SIGINT

EPILOG: Final = (
    "Exit codes: 0 ok, 1 internal error, 2 bad input, 4 the ledger does not verify, "
    "100 job failed, 102 not found, 103 job cancelled, 104 nothing fits, 105 daemon unreachable."
)
JOB_EXIT: Final = {"succeeded": OK, "failed": JOB_FAILED, "cancelled": CANCELLED}


class Stop(Exception):
    """End the command with this code and, if there is a text, one line on stderr."""

    def __init__(self, code: int, text: str = "", hint: str = "") -> None:
        super().__init__(text)
        self.exit_code: Final = code
        self.text: Final = text
        self.hint: Final = hint


def stop(code: int, text: str = "", hint: str = "") -> NoReturn:
    """Raise Stop."""
    raise Stop(code, text, hint)


def code_of(error: Exception) -> int:
    """The exit code of one of our errors, from its HTTP status where it has one."""
    if isinstance(error, Stop):
        return error.exit_code
    status = getattr(error, "status", None)
    if status == 404:
        return NOT_FOUND
    if isinstance(status, int) and 400 <= status < 500:
        return UNREACHABLE if status in (401, 403) else USAGE
    return INTERNAL


def line_of(error: Exception) -> str:
    """ "fleet: what. try: hint", on one line whatever the error holds."""
    text = getattr(error, "text", None) or f"internal error: {type(error).__name__}: {error}"
    hint = getattr(error, "hint", "")
    if not isinstance(getattr(error, "text", None), str):
        hint = "FLEET_DEBUG=1 shows where"
    line = " ".join(f"{text}".split()).rstrip(".")
    advice = " ".join(str(hint).split()).removeprefix("run: ")
    return f"fleet: {line}. try: {advice}" if advice else f"fleet: {line}"
