"""`fleet top`: what every device of the fleet does now, redrawn in place until q or Ctrl-C."""

import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

import click

from mesh.api.errors import RequestError
from mesh.cli.client import Daemon, need_daemon
from mesh.cli.exits import UNREACHABLE, Stop
from mesh.cli.output import emit_json, json_option, plain, say
from mesh.cli.table import terminal_width

PICTURES: Final = "/v1/telemetry?peer=all"
# ECMA-48 and xterm's: another screen, its cursor hidden, and back; home; clear to the line's and to
# the screen's end.
ENTER: Final = "\x1b[?1049h\x1b[?25l"
LEAVE: Final = "\x1b[?25h\x1b[?1049l"
HOME: Final = "\x1b[H"
END_OF_LINE: Final = "\x1b[K\n"
END_OF_SCREEN: Final = "\x1b[J"
LOOK_S: Final = 0.2  # how late a key may be noticed
ENDS: Final = ("q", "Q")


@click.command()
@click.option("--once", is_flag=True, help="one picture, and end")
@json_option
def top(output: str, *, once: bool) -> None:
    """What every device of the fleet does now: memory, load, watts, heat, jobs, health.

    Redrawn every second until q or Ctrl-C; one picture with --once or -o json, and in a pipe.
    Peers that do not answer are shown with what they said last, and how old that is.
    """
    from mesh.cli.machines.top_view import frame
    from mesh.config import fleet_home

    daemon = need_daemon(fleet_home())
    if output == "json":
        emit_json(daemon.get(f"{PICTURES}&once=1"))
    elif once or not (sys.stdout.isatty() and sys.stdin.isatty()):
        for line in frame(daemon.get(f"{PICTURES}&once=1"), terminal_width()):
            say(line)
    else:
        _follow(daemon, frame)


Frame = Callable[[Mapping[str, Any], int | None], list[str]]


def _follow(daemon: Daemon, frame: Frame) -> None:
    """Draw pictures as they come, until a key or the stream ends it."""
    pictures: queue.Queue[Mapping[str, Any] | Exception] = queue.Queue(maxsize=1)
    threading.Thread(target=_read, args=(daemon, pictures), daemon=True).start()
    with _screen() as pressed:
        while not pressed(LOOK_S):
            with suppress(queue.Empty):
                came = pictures.get_nowait()
                if isinstance(came, Exception):
                    raise came
                draw(frame(came, terminal_width()))


def _read(daemon: Daemon, pictures: "queue.Queue[Mapping[str, Any] | Exception]") -> None:
    """The stream's end of it: whoever draws slowly makes it wait."""
    try:
        for kind, value in daemon.stream(PICTURES):
            if kind == "error":
                raise RequestError(value["code"], value["text"], value["hint"])
            pictures.put(value)
        pictures.put(Stop(UNREACHABLE, "the daemon ended the stream", "fleet status"))
    except Exception as error:
        pictures.put(error)


def draw(lines: list[str]) -> None:
    """Put the lines over what is there; what does not fit below is not shown."""
    height = max(2, _height()) - 1
    kept = (
        lines if len(lines) <= height else [*lines[: height - 1], f"{len(lines) - height + 1} more"]
    )
    text = "".join(plain(line) + END_OF_LINE for line in kept)
    sys.stdout.write(HOME + text + END_OF_SCREEN)
    sys.stdout.flush()


def _height() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).lines
    except OSError:
        return 24


@contextmanager
def _screen() -> Iterator[Callable[[float], bool]]:
    """A screen of our own, and whether a key that ends it was pressed; the old one afterwards."""
    sys.stdout.write(ENTER)
    sys.stdout.flush()
    try:
        with _keys() as pressed:
            yield pressed
    finally:
        sys.stdout.write(LEAVE)
        sys.stdout.flush()


@contextmanager
def _keys() -> Iterator[Callable[[float], bool]]:
    """Keys as they are pressed, where the system lets us; elsewhere Ctrl-C alone ends it."""
    try:
        import select
        import termios
        import tty
    except ImportError:  # Windows
        import time

        def waits(seconds: float) -> bool:
            time.sleep(seconds)
            return False

        yield waits
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def pressed(seconds: float) -> bool:
        ready, _, _ = select.select([descriptor], [], [], seconds)
        key = os.read(descriptor, 1).decode(errors="replace") if ready else ""
        return key in ENDS and bool(key)

    try:
        tty.setcbreak(descriptor)
        yield pressed
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
