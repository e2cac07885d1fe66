"""`fleet clouds`: who has a key, from where; a key goes in and never comes out."""

import io
import json
import os
import pty
import re
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import keyring
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keyring.backends import fail

from mesh.cli.app import run
from mesh.cli.exits import CANNOT, NOT_FOUND, OK, USAGE
from mesh.edge.clouds.keys import PROVIDERS, Key
from tests.cli.test_cli import environment
from tests.edge.clouds.rings import MemoryRing

SECRET = "sk~0123456789abcdef"
NAMES = tuple(one.name for one in PROVIDERS)
VARIABLES = tuple(one.variable for one in PROVIDERS)


@contextmanager
def kept(ring: object) -> Iterator[None]:
    keyring.set_keyring(ring)  # type: ignore[arg-type]
    try:
        yield
    finally:
        keyring.set_keyring(fail.Keyring())


def said(*args: str, typed: bytes = b"", **env: str) -> tuple[int, str, str]:
    """A command with this standard input and these keys in the environment: code, out, err."""
    out, err = io.StringIO(), io.StringIO()
    clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    with (
        mock.patch.dict(os.environ, clean | {"FLEET_HOME": os.devnull} | env, clear=True),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed))),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        code = run(["clouds", *args])
    return code, out.getvalue(), err.getvalue()


def rows(**env: str) -> dict[str, Mapping[str, object]]:
    code, out, _ = said("-o", "json", **env)
    assert code == OK
    return {row["provider"]: row for row in json.loads(out)}


@pytest.fixture
def memory() -> Iterator[MemoryRing]:
    ring = MemoryRing()
    with kept(ring):
        yield ring


def test_a_key_is_piped_in_kept_listed_and_removed(memory: MemoryRing) -> None:
    code, out, err = said("login", "vast", typed=SECRET.encode() + b"\n")
    assert (code, err) == (OK, "")
    account = Key(SECRET).account("vastai")
    assert out == f"Vast.ai: account {account}, its key is in rings\n"
    assert memory.kept == {("fleet-ledger", "vastai"): SECRET}
    row = rows()["vastai"]
    assert (row["has_key"], row["source"], row["account"]) == (True, "keyring", account)
    assert said("logout", "vastai") == (OK, "Vast.ai: its key is no longer in the keyring\n", "")
    assert memory.kept == {}
    code, _, err = said("logout", "vastai")
    assert (code, err) == (
        NOT_FOUND,
        "fleet: the keyring has no key of Vast.ai. try: fleet clouds\n",
    )


def test_the_list_says_where_each_key_is_from(memory: MemoryRing) -> None:
    said("login", "runpod", typed=SECRET.encode())
    _, out, err = said(LAMBDA_API_KEY=SECRET)
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["CLOUD", "KEY", "FROM", "ACCOUNT", "NAME"]
    assert lines[1] == ["Vast.ai", "no", "-", "-", "vastai"]
    assert lines[2][:4] == ["RunPod", "yes", "keyring", "(rings)"]
    assert lines[3][:4] == ["Lambda", "Cloud", "yes", "LAMBDA_API_KEY"]
    assert err == ""


def test_without_any_key_the_list_says_what_to_do(memory: MemoryRing) -> None:
    code, _, err = said()
    assert code == OK
    assert err == "no cloud can be rented from. try: fleet clouds login PROVIDER\n"


def test_a_login_beside_a_variable_says_which_is_used(memory: MemoryRing) -> None:
    _, _, err = said("login", "vastai", typed=SECRET.encode(), VAST_API_KEY="another-key")
    assert err == "VAST_API_KEY is set, too, and is what is used\n"
    _, _, err = said("logout", "vastai", VAST_API_KEY="another-key")
    assert err == "VAST_API_KEY is still set, and is what is used\n"


def test_where_no_keyring_works_one_line_says_so_and_no_key_is_asked_for() -> None:
    with kept(fail.Keyring()):
        code, out, err = said("login", "vastai", typed=SECRET.encode())
        assert (code, out) == (CANNOT, "")
        assert (
            err == "fleet: this system has no keyring that works. try: set VAST_API_KEY instead\n"
        )
        _, out, err = said(VAST_API_KEY=SECRET)
        assert "VAST_API_KEY" in out
        assert err == "this system has no keyring that works\n"


def test_without_the_package_one_line_says_how_to_add_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    code, _, err = said("login", "runpod", typed=SECRET.encode())
    assert code == CANNOT
    assert err.startswith("fleet: the system's keyring can't be used without the package keyring")
    assert re.search(r"install .*keyring(>=\d+)?'?, or set RUNPOD_API_KEY\n$", err)
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "args",
    [
        ("login", "vastai", SECRET),
        ("login", SECRET),
        ("logout", SECRET),
        ("login", "vastai", f"--key={SECRET}"),
        ("login", "vastai", "--key", SECRET),
        (SECRET,),
    ],
)
def test_a_key_in_the_arguments_is_refused_and_not_quoted(
    args: tuple[str, ...], memory: MemoryRing
) -> None:
    code, out, err = said(*args, typed=SECRET.encode())
    assert code == USAGE
    assert SECRET not in out + err
    assert memory.kept == {}


def test_nothing_or_no_key_on_standard_input_is_said(memory: MemoryRing) -> None:
    assert said("login", "vastai")[0] == USAGE
    for typed in (b"\xff\xfe" * 9, b"two lines\nof it", b"k" * 5000):
        code, _, err = said("login", "vastai", typed=typed)
        assert code == USAGE
        assert err.startswith("fleet: that is no key")
    assert memory.kept == {}


KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=12, max_size=80).map(
    lambda text: f"~{text}~"
)
NO_KEYS = st.text(min_size=12, max_size=600).map(lambda text: f"~ {text} ~")
COMMANDS = st.sampled_from(
    [
        *[("login", name) for name in NAMES],
        *[("logout", name) for name in NAMES],
        *[("-o", "json", "login", name) for name in NAMES],
        *[("logout", name, "-o", "json") for name in NAMES],
        (),
        ("-o", "json"),
        ("list",),
        ("login", "aws"),
        ("login",),
    ]
)
BROKEN = st.dictionaries(
    st.sampled_from(("get", "set", "delete")), st.sampled_from((OSError, ValueError, KeyError))
)


@settings(max_examples=150, deadline=None)
@given(
    key=KEYS | NO_KEYS,
    commands=st.lists(COMMANDS, min_size=1, max_size=4),
    broken=BROKEN,
    set_too=st.sets(st.sampled_from(VARIABLES)),
    debug=st.sampled_from(("0", "1")),
)
def test_no_output_of_any_command_holds_a_key(
    key: str,
    commands: list[tuple[str, ...]],
    broken: dict[str, type[Exception]],
    set_too: set[str],
    debug: str,
) -> None:
    """Whatever is kept, set, typed, and broken in a way that quotes it."""
    ring = MemoryRing()
    ring.broken = {what: kind(f"{key} is what I was given") for what, kind in broken.items()}
    env = {name: key.replace("\0", "") for name in set_too}
    env["FLEET_DEBUG"] = debug
    with kept(ring):
        for args in commands:
            typed = key.encode(errors="surrogatepass")
            code, out, err = said(*args, typed=typed, **_settable(env))
            assert code in (OK, USAGE, CANNOT, NOT_FOUND), err
            for shown in (key, " ".join(key.split()), key.replace("\0", "")):
                assert shown not in out + err


def _settable(env: Mapping[str, str]) -> dict[str, str]:
    """What an environment can hold."""
    return {k: v.encode(errors="replace").decode() for k, v in env.items()}


def test_a_key_typed_at_a_terminal_is_not_echoed(tmp_path: Path) -> None:
    ring = tmp_path / "ring.json"
    ours, theirs = pty.openpty()
    env = environment(tmp_path) | {
        "PYTHON_KEYRING_BACKEND": "tests.edge.clouds.rings.FileRing",
        "TEST_RING": str(ring),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    running = subprocess.Popen(
        [sys.executable, "-m", "mesh", "clouds", "login", "lambda"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=env,
        cwd=tmp_path,
        start_new_session=True,
    )
    os.close(theirs)
    limit = threading.Timer(30, running.kill)
    limit.start()
    try:
        shown = _typed_unseen(ours, SECRET)
        assert running.wait(30) == 0, shown
    finally:
        limit.cancel()
        running.kill()
        running.wait()
        os.close(ours)
    assert b"Lambda Cloud key:" in shown
    assert SECRET.encode() not in shown
    assert json.loads(ring.read_text()) == {"fleet-ledger/lambdalabs": SECRET}


def _typed_unseen(terminal: int, text: str) -> bytes:
    """All that the terminal showed until its program ended; the text is typed once it is asked for
    and the terminal shows no more what is typed."""
    shown, typed = b"", False
    while True:
        try:
            part = os.read(terminal, 1000)
        except OSError:  # as Linux says it
            part = b""
        if not part:
            return shown
        shown += part
        if not typed and b"key: " in shown and not termios.tcgetattr(terminal)[3] & termios.ECHO:
            os.write(terminal, text.encode() + b"\n")
            typed = True
