"""`fleet doctor --fix`: each safe mend, after a word, and then what is left for a person."""

from collections.abc import Callable, Iterable
from pathlib import Path

import click

from mesh.cli.operations.mend import FIX, Mend, mends
from mesh.cli.output import emit_json, say
from mesh.cli.table import emit_text

Check = tuple[str, str, str]  # what, state, what to do
Done = dict[str, str]


def fix_all(
    home: Path, output: str, checks: Callable[[Path], Iterable[Check]], *, yes: bool
) -> None:
    """Mend what can be mended, one after another, and say what became of each."""
    if output == "json" and not yes:
        raise click.UsageError("-o json asks nothing: say -y, too")
    done = []
    for one in mends(home):
        if yes or click.confirm(f"{one.what} {one.state}: {one.does}?", default=True, err=True):
            done.append(_mended(one))
        else:
            done.append({"what": one.what, "did": "", "why": "left as it is: you said no"})
        if output != "json":
            _tell(done[-1])
    left = [check for check in checks(home) if check[2] and check[2] != FIX]
    if output == "json":
        rows = [dict(zip(("check", "state", "fix"), check, strict=True)) for check in left]
        emit_json({"mends": done, "left": rows})
        return
    if not done:
        say("nothing here that mends itself")
    if left:
        say("left for a person:")
    for what, state, fix in left:
        emit_text(f"{what}: {state} ({fix})", "  ")


def _mended(one: Mend) -> Done:
    try:
        one.run()
    except OSError as error:
        return {"what": one.what, "did": "", "why": f"{one.does}: {error.strerror or error}"}
    return {"what": one.what, "did": one.does, "why": ""}


def _tell(done: Done) -> None:
    text = f"done: {done['did']}" if done["did"] else f"not done: {done['why']}"
    emit_text(f"{done['what']}: {text}", "  ")
