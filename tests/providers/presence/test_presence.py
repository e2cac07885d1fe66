"""Who sits at a machine, as each system says it; and that a source which hangs is only named."""

import asyncio
import os
import pty
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.presence import desktops, logind, reading, x11
from providers.presence.asking import Asker, NoAnswer
from providers.presence.facts import PRESENT_MS, Presence, by_idle
from providers.presence.reading import PresenceReader, idle_source
from tests.providers.conftest import until

NOW_US = 3_000_000_000
# As systemd 252 prints it of a GNOME session on Wayland that went idle once and is in use.
SESSION = """Id=3
Seat=seat0
TTY=tty2
Remote=no
Desktop=gnome
Type=wayland
Class=user
State=active
IdleHint=no
IdleSinceHintMonotonic=2904000000
LockedHint=no
"""


def session(**changes: str) -> str:
    said = dict(line.split("=", 1) for line in SESSION.splitlines()) | changes
    return "".join(f"{key}={value}\n" for key, value in said.items())


@pytest.mark.parametrize(
    ("changes", "present", "idle_ms"),
    [
        ({}, True, None),
        ({"IdleHint": "yes"}, False, 96_000),
        ({"LockedHint": "yes"}, False, None),
        ({"IdleSinceHintMonotonic": "0"}, None, None),  # a desktop that never sets the hint
        ({"IdleSinceHintMonotonic": ""}, None, None),
        ({"Type": "tty"}, True, 96_000),  # logind takes it from the terminal
        ({"Type": "tty", "IdleSinceHintMonotonic": "1000000000"}, False, 2_000_000),
        ({"Class": "greeter"}, False, None),
        ({"Remote": "yes"}, False, None),
        ({"Seat": ""}, False, None),  # somebody over SSH sits elsewhere
        ({"State": "closing"}, False, None),
    ],
)
def test_what_logind_says_of_a_session(
    changes: dict[str, str], present: object, idle_ms: int | None
) -> None:
    found = logind.presence_of(logind.parse_session(session(**changes)), NOW_US)
    assert (found.present, found.idle_ms) == (present, idle_ms)


def test_a_machine_without_a_session_at_its_screen_is_no_desktop() -> None:
    assert logind.active_session("ActiveSession=\n") == ""
    assert logind.active_session("\n") == ""
    assert logind.active_session("ActiveSession=c2\n") == "c2"
    assert logind.active_session("Failed") is None
    assert logind.presence_of(None, NOW_US) == Presence(
        present=False, idle_ms=None, source="headless", text="no session at a screen", desktop=False
    )


def test_the_tools_of_logind_alone_are_no_logind(tmp_path: Path) -> None:
    assert not logind.is_running(tmp_path)  # as in a container
    (tmp_path / "seat0").touch()
    assert logind.is_running(tmp_path)


@given(st.text())
def test_no_text_of_loginctl_breaks_its_parser(text: str) -> None:
    logind.parse_session(text)
    logind.active_session(text)


IOREG = '    | |   "HIDIdleTime" = 73921457042\n    | |   "HIDKeyboardModifierMapping" = ()\n'


def test_the_idle_time_of_a_mac_is_in_nanoseconds() -> None:
    assert desktops.idle_of_ioreg(IOREG) == 73_921
    assert desktops.idle_of_ioreg(IOREG + '"HIDIdleTime" = 5000000\n') == 5
    assert desktops.idle_of_ioreg("") is None


def test_the_ticks_of_windows_wrap_after_49_days() -> None:
    assert desktops.idle_of_ticks(5_000, 2_000) == 3_000
    assert desktops.idle_of_ticks(1_000, 2**32 - 500) == 1_500


def test_gnome_answers_busctl_with_one_number() -> None:
    assert desktops.idle_of_mutter("t 4211\n") == 4211
    assert desktops.idle_of_mutter("Call failed: no such name") is None


def test_a_terminal_in_the_future_was_typed_at_now() -> None:
    assert desktops.idle_of_atime(2_000_000_000, 9_000_000_000) == 7_000
    assert desktops.idle_of_atime(9_000_000_000, 2_000_000_000) == 0


def test_typing_at_a_real_terminal_moves_its_idle_time() -> None:
    leader, follower = pty.openpty()
    try:
        name = os.ttyname(follower).removeprefix("/dev/")
        os.utime(f"/dev/{name}", (time.time() - 600, time.time() - 600))
        assert desktops.read_terminal(name) >= 599_000
        os.write(leader, b"typed\n")
        os.read(follower, 100)
        assert desktops.read_terminal(name) < 60_000
    finally:
        os.close(leader)
        os.close(follower)


@pytest.mark.parametrize("name", ["", "../etc/passwd", "sda", "tty2/../../x"])
def test_only_terminals_are_looked_at(name: str) -> None:
    with pytest.raises(OSError, match="is no terminal"):
        desktops.read_terminal(name)


def test_idle_alone_tells_who_is_there() -> None:
    assert by_idle("X", 0).present
    assert not by_idle("X", PRESENT_MS).present
    assert by_idle("ioreg", 73_921).text == "ioreg: last input 73 s ago"
    assert by_idle("ioreg", 7_200_000).text == "ioreg: last input 120 min ago"


# ---- the X protocol -----------------------------------------------------------------------------


def setup(vendor: bytes = b"The X.Org Foundation", root: int = 0x123) -> bytes:
    """A server's greeting: 8 bytes of head, 32 fixed, the vendor, two formats, one screen."""
    body = struct.pack("<IIIIHHBB10x", 1, 2, 3, 4, len(vendor), 65535, 1, 2)
    body += vendor + b"\0" * (-len(vendor) % 4) + b"\0" * 16 + struct.pack("<I36x", root)
    return struct.pack("<BxHHH", 1, 11, 0, len(body) // 4) + body


def extension(*, present: bool, opcode: int = 144) -> bytes:
    return struct.pack("<BxHIBB22x", 1, 1, 0, present, opcode)


def info(idle: int) -> bytes:
    return struct.pack("<BBHIIII12x", 1, 0, 2, 0, 0x123, 0, idle)


EVENT = bytes([34]) + bytes(31)  # MappingNotify comes unasked


def talk(answers: bytes) -> tuple[int, bytes]:
    """(idle, what was sent) of a talk with a server that says this."""
    sent: list[bytes] = []
    rest = bytearray(answers)

    def read(size: int) -> bytes:
        if size > len(rest):
            raise OSError("the X server ended the connection")
        data = bytes(rest[:size])
        del rest[:size]
        return data

    return x11.ask_idle(sent.append, read, b"c" * 16), b"".join(sent)


def test_the_talk_with_an_x_server() -> None:
    idle, sent = talk(setup() + EVENT + extension(present=True) + EVENT + info(4242))
    assert idle == 4242
    assert sent[:12] == b"l\0\x0b\0\0\0\x12\0\x10\0\0\0"
    assert sent[12:48] == b"MIT-MAGIC-COOKIE-1\0\0" + b"c" * 16
    assert sent[-8:] == struct.pack("<BBHI", 144, 1, 2, 0x123)


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        (b"\0\x05\x0b\0\0\0\x02\0nope!\0\0\0", "the X server refuses: nope!"),
        (b"\x01\0\x0b\0\0\0\xff\xff" + bytes(9), "ended the connection"),
        (setup() + extension(present=False), "has no MIT-SCREEN-SAVER"),
        (setup() + b"\0\x03" + bytes(30), "answers with error 3"),
        (setup() + EVENT * x11.MAX_EVENTS, "events without end"),
        (b"\x01\0\x0b\0\0\0\x01\0\0\0\0\0", "greeting is torn"),
        (b"", "ended the connection"),
    ],
)
def test_a_server_that_refuses_or_lies_is_one_clear_line(answers: bytes, says: str) -> None:
    with pytest.raises(OSError, match=says):
        talk(answers)


@given(st.binary(max_size=300))
def test_no_server_breaks_the_talk(answers: bytes) -> None:
    try:
        talk(answers)
    except OSError:
        return


def entry(address: bytes, number: bytes, data: bytes, name: bytes = x11.COOKIE) -> bytes:
    fields = (address, number, name, data)
    return b"\1\0" + b"".join(struct.pack(">H", len(text)) + text for text in fields)


def test_cookies_of_this_host_and_display_are_tried_first() -> None:
    file = (
        entry(b"rig", b"", b"any") + entry(b"other", b"1", b"no") + entry(b"rig", b"1", b"mine")
        + entry(b"rig", b"2", b"no") + entry(b"rig", b"1", b"no", b"XDM-AUTHORIZATION-1")
    )  # fmt: skip
    entries = x11.parse_authority(file + b"\1\0\0")  # its last line is torn
    assert len(entries) == 5
    assert x11.cookies(entries, 1, b"rig") == [b"mine", b"any"]


@given(st.binary(max_size=200))
def test_no_authority_file_breaks_its_parser(data: bytes) -> None:
    x11.parse_authority(data)


@pytest.mark.parametrize(
    ("display", "number"),
    [(":0", 0), (":12.1", 12), ("unix:3", 3), ("host:0", None), ("", None), (":x", None)],
)
def test_only_local_displays_are_asked(display: str, number: int | None) -> None:
    assert x11.display_number(display) == number


@pytest.fixture
def xvfb() -> Iterator[str]:
    """A real X server without a screen; the test is left out where there is none."""
    if shutil.which("Xvfb") is None or shutil.which("xdotool") is None:
        pytest.skip("no Xvfb and xdotool here")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "320x240x8", "-noreset"],
        pass_fds=[write], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(write)
    with os.fdopen(read) as said:
        yield f":{said.readline().strip()}"
    server.terminate()
    server.wait()


def test_a_real_x_server_tells_when_the_mouse_moved(xvfb: str) -> None:
    until(lambda: x11.read_idle_ms(xvfb) > 300, "nobody moves for a while")
    subprocess.run(
        ["xdotool", "mousemove", "30", "40"], env={**os.environ, "DISPLAY": xvfb}, check=True
    )
    assert x11.read_idle_ms(xvfb) < 300


def test_a_display_nobody_serves_is_an_error_not_an_end() -> None:
    with pytest.raises(OSError, match=r".+"):
        x11.read_idle_ms(":59999")


# ---- which source -------------------------------------------------------------------------------

FRONT = logind.parse_session(SESSION)
assert FRONT is not None


@pytest.mark.parametrize(
    ("kind", "desktop", "environment", "name"),
    [
        ("wayland", "gnome", {}, "GNOME"),
        ("wayland", "KDE", {"DISPLAY": ":0"}, None),  # XWayland would say nobody is there
        ("x11", "KDE", {}, "X server :7"),
        ("tty", "", {}, None),
        ("none", "", {"WAYLAND_DISPLAY": "wayland-0", "DISPLAY": ":0"}, None),
        ("none", "", {"WAYLAND_DISPLAY": "w", "XDG_CURRENT_DESKTOP": "ubuntu:GNOME"}, "GNOME"),
        ("none", "", {"DISPLAY": ":0"}, "X server :0"),
    ],
)
def test_who_is_asked_for_the_last_input(
    kind: str, desktop: str, environment: dict[str, str], name: str | None
) -> None:
    assert FRONT is not None
    front = None if kind == "none" else replace(FRONT, kind=kind, desktop=desktop, display=":7")
    found = idle_source(front, environment)
    assert (found[0] if found else None) == name


class Machine:
    """A Linux machine as a test has it: its session, and what its idle counter says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, session: logind.Session | None) -> None:
        self.idle: Callable[[], int] = lambda: 40
        monkeypatch.setattr(logind, "is_running", lambda: True)
        monkeypatch.setattr(logind, "read_session", lambda: session)
        monkeypatch.setattr(desktops, "read_mutter", lambda: self.idle())
        self.reader = PresenceReader("linux")


def refuse() -> int:
    raise OSError("gone")


async def test_the_idle_counter_knows_better_than_the_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, FRONT)
    found = await machine.reader.read_presence()
    assert (found.present, found.idle_ms, found.source) == (True, 40, "GNOME")


async def test_without_an_idle_counter_the_hint_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, FRONT)
    machine.idle = refuse
    found = await machine.reader.read_presence()
    assert (found.present, found.idle_ms, found.source) == (True, None, "logind")


async def test_where_neither_knows_it_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert FRONT is not None
    machine = Machine(monkeypatch, replace(FRONT, idle_since_us=0))
    machine.idle = refuse
    found = await machine.reader.read_presence()
    assert (found.present, found.idle_ms, found.text) == (None, None, "GNOME: gone")
    assert found.desktop


async def test_a_locked_screen_asks_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    assert FRONT is not None
    machine = Machine(monkeypatch, replace(FRONT, locked=True))
    found = await machine.reader.read_presence()
    assert (found.present, found.idle_ms) == (False, None)


async def test_a_machine_without_logind_and_display_has_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logind, "is_running", lambda: False)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not (await PresenceReader("linux").read_presence()).desktop
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.delenv("XDG_CURRENT_DESKTOP", raising=False)
    assert (await PresenceReader("linux").read_presence()).present is None


async def test_another_system_is_asked_in_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desktops, "read_ioreg", lambda: 7)
    assert (await PresenceReader("darwin").read_presence()).text == "ioreg: last input 0 s ago"
    assert (await PresenceReader("win32").read_presence()).text == "Windows: not Windows"


# ---- sources that hang ---------------------------------------------------------------------------


async def test_a_source_that_hangs_is_named_and_not_started_twice() -> None:
    let_go, starts = threading.Event(), []

    def hang() -> int:
        starts.append(1)
        let_go.wait()
        return 5

    asker = Asker("logind", hang, fresh_s=0.05)
    try:
        for _ in range(3):
            with pytest.raises(NoAnswer, match="logind has not answered for 0 s"):
                await asker.answer()
        assert len(starts) == 1
    finally:
        let_go.set()
    async with asyncio.timeout(10):
        while True:
            try:
                assert await asker.answer() == 5
                break
            except NoAnswer:
                await asyncio.sleep(0.001)
    assert len(starts) <= 2


async def test_a_slow_moment_is_no_change_while_the_last_answer_is_fresh() -> None:
    let_go = threading.Event()
    let_go.set()

    def ask() -> int:
        let_go.wait()
        return 5

    asker = Asker("logind", ask, fresh_s=60.0, wait_s=0.01)
    assert await asker.answer() == 5
    let_go.clear()
    assert await asker.answer() == 5
    let_go.set()


async def test_a_source_that_fails_says_how_and_is_asked_again() -> None:
    answers: list[Exception | int] = [OSError("no bus"), ValueError("odd"), 3]

    def ask() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    asker = Asker("logind", ask)
    with pytest.raises(NoAnswer, match="logind: no bus"):
        await asker.answer()
    with pytest.raises(NoAnswer, match="logind: ValueError: odd"):
        await asker.answer()
    assert await asker.answer() == 3


def test_every_system_has_a_reader_of_its_power() -> None:
    readers = {reading.power_reader(name) for name in ("linux", "darwin", "win32")}
    assert len(readers) == 3
