"""Idle time from an X server's MIT-SCREEN-SAVER extension, in its own protocol over its own socket.

Not by libX11: its default handler ends the whole process when the server goes away. Not under
Wayland either: the X server there sees only input to X programs, and so says "idle" of a busy
person (the reader is not asked then).
"""

import os
import re
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

COOKIE = b"MIT-MAGIC-COOKIE-1"
EXTENSION = b"MIT-SCREEN-SAVER"
QUERY_EXTENSION = 98  # X11 protocol, appendix B
QUERY_INFO = 1  # of MIT-SCREEN-SAVER
MAX_SETUP_BYTES = 256 * 1024  # a server with a dozen screens says some 20 KiB of itself
MAX_EVENTS = 1000  # that come unasked before an answer
MAX_AUTHORITY_BYTES = 1024 * 1024
TIMEOUT_S = 1.0  # of each read; the whole has the asker's deadline


class Entry(NamedTuple):
    """A line of an Xauthority file."""

    address: bytes
    number: bytes
    name: bytes
    data: bytes


def display_number(display: str) -> int | None:
    """Of a local display, ":1" or ":1.0"; None of one over the network, and of anything else."""
    found = re.fullmatch(r"(?:unix)?:(\d{1,5})(?:\.\d{1,3})?", display, re.ASCII)
    return int(found[1]) if found else None


def parse_authority(data: bytes) -> list[Entry]:
    """An Xauthority file: two bytes of family, then four counted texts; what is torn ends it."""
    found: list[Entry] = []
    at = 0
    while at + 2 <= len(data):
        at += 2
        fields = []
        for _ in range(4):
            if at + 2 > len(data):
                return found
            (size,) = struct.unpack_from(">H", data, at)
            fields.append(data[at + 2 : at + 2 + size])
            at += 2 + size
        if at > len(data):
            return found
        found.append(Entry(*fields))
    return found


def cookies(entries: list[Entry], number: int, host: bytes) -> list[bytes]:
    """Cookies to try for a display of this host: its own first, then those for any display."""
    mine = [e for e in entries if e.name == COOKIE and e.address in (host, b"")]
    exact = [e.data for e in mine if e.number == str(number).encode()]
    return exact + [e.data for e in mine if e.number == b""]


def setup_request(cookie: bytes) -> bytes:
    """The first words to a server, least significant byte first; no cookie is b""."""
    name = COOKIE if cookie else b""
    head = struct.pack("<BxHHHHxx", ord("l"), 11, 0, len(name), len(cookie))
    return head + _padded(name) + _padded(cookie)


def root_window(setup: bytes) -> int:
    """The first screen's root window in a server's answer, without its first eight bytes."""
    vendor, formats = struct.unpack_from("<H", setup, 16)[0], setup[21]
    (root,) = struct.unpack_from("<I", setup, 32 + _whole_words(vendor) + 8 * formats)
    return int(root)


def extension_request() -> bytes:
    """QueryExtension for the screen saver's."""
    words = 2 + _whole_words(len(EXTENSION)) // 4
    return struct.pack("<BxHHxx", QUERY_EXTENSION, words, len(EXTENSION)) + _padded(EXTENSION)


def extension_opcode(reply: bytes) -> int | None:
    """What to call the extension by; None where the server has none."""
    return reply[9] if reply[8] else None


def info_request(opcode: int, window: int) -> bytes:
    """ScreenSaverQueryInfo."""
    return struct.pack("<BBHI", opcode, QUERY_INFO, 2, window)


def idle_ms(reply: bytes) -> int:
    """Milliseconds since the last input, by any device."""
    return int(struct.unpack_from("<I", reply, 16)[0])


def ask_idle(send: Callable[[bytes], object], read: Callable[[int], bytes], cookie: bytes) -> int:
    """The whole talk with a server; OSError where it refuses or talks no sense."""
    send(setup_request(cookie))
    head = read(8)
    size = 4 * int(struct.unpack_from("<H", head, 6)[0])
    if size > MAX_SETUP_BYTES:
        raise OSError("the X server says too much of itself")
    setup = read(size)
    if head[0] != 1:
        why = setup[: head[1]].decode(errors="replace").strip()
        raise OSError(f"the X server refuses: {why}")
    try:
        root = root_window(setup)
    except (struct.error, IndexError) as error:
        raise OSError("the X server's greeting is torn") from error
    send(extension_request())
    opcode = extension_opcode(_reply(read))
    if opcode is None:
        raise OSError("the X server has no MIT-SCREEN-SAVER")
    send(info_request(opcode, root))
    return idle_ms(_reply(read))


def _reply(read: Callable[[int], bytes]) -> bytes:
    """The next answer, past events; those we ask for have no bytes beyond the first 32."""
    for _ in range(MAX_EVENTS):
        packet = read(32)
        if packet[0] == 0:
            raise OSError(f"the X server answers with error {packet[1]}")
        if packet[0] == 1:
            return packet
    raise OSError("the X server sends events without end")


def _whole_words(size: int) -> int:
    return size + -size % 4


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def read_idle_ms(display: str) -> int:
    """Milliseconds since the last input at a local display; OSError says why nobody can tell."""
    number = display_number(display)
    if number is None:
        raise OSError(f"{display!r} is no local display")
    last = OSError("no cookie was taken")
    for cookie in [*cookies(_authority(), number, socket.gethostname().encode()), b""]:
        try:
            with _connect(number) as link:
                return ask_idle(link.sendall, partial(_exactly, link), cookie)
        except OSError as error:
            last = error
    raise last


def _connect(number: int) -> socket.socket:
    """The server's socket in the file system, or the abstract one that Linux has beside it."""
    path = f"/tmp/.X11-unix/X{number}"
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.settimeout(TIMEOUT_S)
    try:
        try:
            link.connect(path)
        except FileNotFoundError:
            link.connect("\0" + path)
    except OSError:
        link.close()
        raise
    return link


def _exactly(link: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = link.recv(size - len(data))
        if not more:
            raise OSError("the X server ended the connection")
        data += more
    return data


def _authority() -> list[Entry]:
    """Every cookie this user can read: where the session says, at home, and where gdm puts it."""
    named = os.environ.get("XAUTHORITY")
    places = [
        Path(named) if named else None,
        Path.home() / ".Xauthority",
        Path(f"/run/user/{os.getuid()}/gdm/Xauthority"),
    ]
    found: list[Entry] = []
    for place in places:
        with suppress(OSError):
            if place is not None and place.stat().st_size <= MAX_AUTHORITY_BYTES:
                found += parse_authority(place.read_bytes())
    return found
