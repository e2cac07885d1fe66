"""What a command's end means: one table from kinds of trouble to exit codes, one line for each."""

import errno
from typing import Final, NoReturn

OK: Final = 0
INTERNAL: Final = 1
USAGE: Final = 2
CANNOT: Final = 3
BROKEN_LEDGER: Final = 4
JOB_FAILED: Final = 100
NOT_FOUND: Final = 102
CANCELLED: Final = 103
NOTHING_FITS: Final = 104
UNREACHABLE: Final = 105
NOT_ALLOWED: Final = 106
INTERRUPTED: Final = 130  # what shells report for Ctrl-C: 128 + SIGINT

# \b keeps click from flowing the lines into one.
EPILOG: Final = """\b
Exit codes:
  0    ok
  1    internal error: a bug of ours
  2    bad input
  3    cannot now: no ledger yet, ledger in use, port
       taken, folder not writable, file unreadable,
       disk full, a job that has ended already or not
       yet, words that the signed ledger keeps
  4    the ledger is damaged or does not verify
  100  job failed, whatever its own exit code was (the
       message names it)
  102  not found
  103  job cancelled
  104  nothing fits
  105  daemon or peer unreachable
  106  not allowed: role, token, expired or used-up code
  130  Ctrl-C
"""
JOB_EXIT: Final = {"succeeded": OK, "failed": JOB_FAILED, "cancelled": CANCELLED}

# An error's kind is its `code`, its class where it has none, or the HTTP status it came with.
BY_KIND: Final = {
    "Ambiguous": USAGE,
    "Impostor": NOT_ALLOWED,
    "JobExists": USAGE,
    "LedgerBusy": CANNOT,
    "LedgerDamaged": BROKEN_LEDGER,
    "ModelError": NOT_FOUND,
    "NoDaemon": UNREACHABLE,
    "NoDevice": NOTHING_FITS,
    "NoRoute": CANNOT,
    "ProviderError": CANNOT,
    "SpecError": USAGE,
    "StoreError": CANNOT,
    "UnreadableModel": CANNOT,
}
BY_STATUS: Final = {
    401: NOT_ALLOWED,
    403: NOT_ALLOWED,
    404: NOT_FOUND,
    409: CANNOT,
    429: CANNOT,
    500: INTERNAL,
    502: UNREACHABLE,
    503: CANNOT,
    504: UNREACHABLE,
}
# Why a job that was never placed failed, beside the planner's refusals: a peer without devices, and
# what plans said of devices not named when they still said so.
NEVER_PLACED: Final = ("no_resource", "NotChosen")
# What the system says no to in ordinary life, and what a person may do about it.
SYSTEM: Final = {
    errno.EACCES: "check that you own it and may write to it",
    errno.EADDRINUSE: "fleet up --port 0 takes a free one",
    errno.EADDRNOTAVAIL: "name an address of this machine",
    errno.EDQUOT: "free some disk space",
    errno.EEXIST: "name a folder there, not a file",
    errno.EISDIR: "name a file, not a folder",
    errno.ENOENT: "check the path",
    errno.ENOSPC: "free some disk space",
    errno.ENOTDIR: "name a folder there, not a file",
    errno.EPERM: "check that you own it and may write to it",
    errno.EROFS: "choose a folder that can be written",
}
SOCKETS: Final = (errno.EADDRINUSE, errno.EADDRNOTAVAIL)


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
    """The exit code of an error's kind; 1, a bug, for what no table knows."""
    if isinstance(error, Stop):
        return error.exit_code
    if not isinstance(getattr(error, "text", None), str):
        return CANNOT if is_ordinary(error) else INTERNAL
    for kind in (getattr(error, "code", ""), *(one.__name__ for one in type(error).__mro__)):
        if kind in BY_KIND:
            return BY_KIND[kind]
    status = getattr(error, "status", 500)
    return BY_STATUS.get(status, USAGE if 400 <= status < 500 else INTERNAL)


def nowhere(reason: str) -> bool:
    """Whether a job ended for this reason because nothing could hold it."""
    from mathcore.planner.refusals import MEANINGS

    return reason in MEANINGS or reason in NEVER_PLACED


def is_ordinary(error: Exception) -> bool:
    """Whether the system refused something that is nobody's bug."""
    return isinstance(error, OSError) and error.errno in SYSTEM


def line_of(error: Exception) -> str:
    """ "fleet: what. try: hint", on one line whatever the error holds."""
    text = getattr(error, "text", None)
    if isinstance(text, str):
        return shown(text, str(getattr(error, "hint", "") or ""))
    if isinstance(error, OSError) and is_ordinary(error):
        return shown(system_text(error), SYSTEM[error.errno or 0])
    return shown(f"internal error: {type(error).__name__}: {error}", "FLEET_DEBUG=1 shows where")


def system_text(error: OSError) -> str:
    """ "cannot use /x/y: Permission denied": the system's own word, with the name where it has one.

    Of what has none, sockets say where they are, and the rest is our output.
    """
    what = f"use {error.filename}" if error.filename else "write the output"
    reason = error.strerror or str(error)
    return reason if error.errno in SOCKETS else f"cannot {what}: {reason}"


def shown(text: str, hint: str) -> str:
    """The one line of an error."""
    line = " ".join(text.split()).rstrip(".")
    advice = " ".join(hint.split()).removeprefix("run: ")
    mark = "" if line.endswith(("?", "!")) else "."
    return f"fleet: {line}{mark} try: {advice}" if advice else f"fleet: {line}"
