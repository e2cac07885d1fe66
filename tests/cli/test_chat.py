"""`fleet chat`: what it reads of a stream, what it shows, and what it does when things go wrong."""

import json
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mesh.api.errors import RequestError
from mesh.cli import app
from mesh.cli.exits import CANNOT, NOT_FOUND, NOTHING_FITS, UNREACHABLE, USAGE, Stop, code_of
from mesh.cli.serving import chat, choosing
from mesh.cli.serving.chatting import Hearing, Note, Piece, refusal, stats, summary
from mesh.cli.serving.painting import BOLD, CLEAR_LINE, CYAN, DIM, RESET, Painter, tame
from mesh.cli.serving.screen import Screen

HOSTILE = "\x1b]0;owned\x07\x1b[2Jhi\x9b31m\x08\u202e there\r\n\tyou"


def chunk(**delta: object) -> str:
    return f"data: {json.dumps({'choices': [{'delta': delta, 'finish_reason': None}]})}\n\n"


END = (
    f"data: {json.dumps({'choices': [{'delta': {}, 'finish_reason': 'stop'}]})}\n\n"
    + f"data: {json.dumps({'choices': [], 'usage': {'prompt_tokens': 9, 'completion_tokens': 2}})}"
    + "\n\n: cost_nusd=120000\n\ndata: [DONE]\n\n"
)
HELLO = chunk(content="Hel") + chunk(content="lo") + END


class Address(ThreadingHTTPServer):
    """This machine's address, with models and answers that are set beforehand."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Asking)
        self.models = {"tiny.gguf": "loaded"}
        self.answers: list[tuple[int, str]] = []
        self.asked: list[dict[str, Any]] = []
        self.left = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Asking(BaseHTTPRequestHandler):
    server: Address

    def do_GET(self) -> None:
        rows = [{"id": name, "state": state} for name, state in self.server.models.items()]
        self._say(200, json.dumps({"data": rows}))

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.server.asked.append(json.loads(self.rfile.read(length)))
        status, text = self.server.answers.pop(0)
        self._say(status, text)
        if text and "[DONE]" not in text and status == 200:
            self.connection.settimeout(10)
            if self.rfile.read(1) == b"":
                self.server.left.set()

    def _say(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("X-Fleet-Device", "rig")
        self.end_headers()
        self.wfile.write(text.encode())
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


class Daemon:
    """A daemon that knows the address, and notes what it is asked to keep up."""

    url = "http://127.0.0.1:1"

    def __init__(self, address: Address) -> None:
        self.address = address
        self.fits = True
        self.kept: list[Any] = []

    def get(self, path: str) -> Any:
        assert path == "/v1/status"
        return {"gateway": {"url": self.address.url}}

    def post(self, path: str, body: Any) -> Any:
        if path == "/v1/plan":
            return {"placements": [{}] if self.fits else []}
        assert path == "/v1/services"
        self.kept.append(body)
        return {"model": Path(body["spec"]["model"]).name}


@pytest.fixture
def address() -> Iterator[Address]:
    with Address() as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def daemon(address: Address, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    found = Daemon(address)
    monkeypatch.setattr(choosing, "find_daemon", lambda _: found)
    return found


def typed(*words: str, said: str = "") -> Result:
    return CliRunner().invoke(app.fleet, ["chat", *words], input=said, catch_exceptions=True)


def talk_with(daemon: Daemon) -> chat.Talk:
    made = chat.Talk(daemon, Screen(), system="be brief", tokens=7)
    made.takes(None)
    return made


# One answer


def test_a_question_is_answered_on_standard_output_and_its_facts_beside_it(
    address: Address, daemon: Daemon
) -> None:
    address.answers = [(200, HELLO)]
    done = typed("-p", "hi")
    assert (done.exit_code, done.stdout) == (0, "Hello\n")
    assert done.stderr.startswith("2 tokens, ")
    assert done.stderr.endswith("$0.000120000, on rig\n")
    (asked,) = address.asked
    assert asked["messages"] == [{"role": "user", "content": "hi"}]
    assert (asked["model"], asked["stream"]) == ("tiny.gguf", True)


def test_a_question_may_come_through_a_pipe(address: Address, daemon: Daemon) -> None:
    address.answers = [(200, HELLO)]
    assert typed("tiny", said="from a pipe\n").stdout == "Hello\n"
    assert address.asked[0]["messages"][0]["content"] == "from a pipe\n"


def test_a_program_gets_one_object(address: Address, daemon: Daemon) -> None:
    address.answers = [(200, chunk(reasoning_content="hm") + HELLO)]
    done = typed("-p", "hi", "-o", "json")
    found = json.loads(done.stdout)
    assert (found["answer"], found["reasoning"], found["device"]) == ("Hello", "hm", "rig")
    assert found["usage"]["completion_tokens"] == 2
    assert (found["cost_nusd"], found["finish_reason"]) == (120_000, "stop")
    assert done.stderr == ""


def test_an_empty_question_is_not_asked(address: Address, daemon: Daemon) -> None:
    done = typed(said=" \n")
    assert isinstance(done.exception, Stop)
    assert done.exception.exit_code == USAGE
    assert address.asked == []


def test_a_model_sends_no_control_characters_to_a_terminal(
    address: Address, daemon: Daemon
) -> None:
    address.answers = [(200, chunk(reasoning_content=HOSTILE) + chunk(content=HOSTILE) + END)]
    text = typed("-p", "hi").stdout
    assert text == "]0;owned[2Jhi31m there\n\tyou\n"
    assert tame("a\u200db c\xa0d é漢") == "a\u200db c d é漢"


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (404, {"type": "not_found_error", "code": "UnknownModel"}, NOT_FOUND),
        (503, {"type": "server_error", "code": "LoadFailed"}, CANNOT),
        (502, {"type": "server_error", "code": "UpstreamBroken"}, UNREACHABLE),
        (400, {"type": "invalid_request_error", "code": 400}, USAGE),
    ],
)
def test_a_refusal_ends_with_the_house_s_code(
    address: Address, daemon: Daemon, status: int, error: dict[str, Any], code: int
) -> None:
    body = {"error": {"message": "no such luck", **error}}
    address.answers = [(status, json.dumps(body))]
    refused = typed("-p", "hi").exception
    address.answers = [(200, f": waits\n\ndata: {json.dumps(body)}\n\n[DONE]")]
    framed = typed("-p", "hi").exception
    for one in (refused, framed):
        assert isinstance(one, RequestError)
        assert (one.text, code_of(one)) == ("no such luck", code)


def test_an_answer_that_breaks_off_is_no_success(address: Address, daemon: Daemon) -> None:
    address.answers = [(200, chunk(content="Hel") + ": [DONE]\n\n")]
    done = typed("-p", "hi")
    assert done.stdout == "Hel\n"
    assert isinstance(done.exception, RequestError)
    assert code_of(done.exception) == UNREACHABLE


def test_an_address_that_is_gone_is_one_line(daemon: Daemon, address: Address) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    daemon.get = lambda _: {"gateway": {"url": f"http://127.0.0.1:{port}"}}
    done = typed("-p", "hi")
    assert isinstance(done.exception, Stop)
    assert done.exception.exit_code == UNREACHABLE


# Which model


def test_a_path_is_kept_up_first(address: Address, daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "big.gguf").touch()
    address.answers = [(200, HELLO)]
    done = typed(str(tmp_path / "big.gguf"), "-p", "hi")
    assert done.stdout == "Hello\n"
    assert done.stderr.startswith("big.gguf is loading…\n")
    spec = {"model": str(tmp_path / "big.gguf")}
    assert daemon.kept == [{"spec": spec, "min": 0, "max": 1, "idle_ms": 600_000}]
    assert address.asked[0]["model"] == "big.gguf"


def test_a_model_that_is_there_is_not_kept_up_anew(address: Address, daemon: Daemon) -> None:
    for name in ("tiny.gguf", "tiny", "/elsewhere/tiny.gguf"):
        assert choosing.chosen(daemon, address.url, name) == ("tiny.gguf", True)
    assert daemon.kept == []


def test_what_fits_nowhere_is_not_kept_up(address: Address, daemon: Daemon) -> None:
    daemon.fits = False
    with pytest.raises(Stop) as caught:
        choosing.chosen(daemon, address.url, "huge-70b")
    assert caught.value.exit_code == NOTHING_FITS
    assert daemon.kept == []


def test_without_a_name_it_is_the_one_that_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert choosing.only({"a": False}) == ("a", False)
    assert choosing.only({"a": False, "b": True}) == ("b", True)
    with pytest.raises(Stop, match="2 models are served; say which"):
        choosing.only({"b": True, "a": True})
    assert capsys.readouterr().err == "  a\n  b\n"
    with pytest.raises(Stop, match="no model is served"):
        choosing.only({})


def test_a_file_that_is_not_there_starts_no_daemon(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(choosing, "find_daemon", lambda _: None)
    with pytest.raises(Stop) as caught:
        choosing.daemon_for(tmp_path, str(tmp_path / "none.gguf"))
    assert caught.value.exit_code == NOT_FOUND
    assert list(tmp_path.iterdir()) == []


# A conversation


def test_what_was_said_is_sent_again_until_it_is_cleared(address: Address, daemon: Daemon) -> None:
    address.answers = [(200, HELLO)] * 3
    talk = talk_with(daemon)
    talk.asks("one")
    talk.asks("two")
    chat.with_one_line(talk, "/clear")
    talk.asks("three")
    said = [[m["content"] for m in asked["messages"]] for asked in address.asked]
    assert said == [
        ["be brief", "one"],
        ["be brief", "one", "Hello", "two"],
        ["be brief", "three"],
    ]
    assert {asked["max_tokens"] for asked in address.asked} == {7}


def test_ctrl_c_stops_an_answer_at_its_server_and_not_the_conversation(
    address: Address, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    address.answers = [(200, chunk(content="Hel")), (200, HELLO)]
    talk = talk_with(daemon)
    shows = talk.screen.shows

    def pressed(one: Piece | Note) -> None:
        shows(one)
        raise KeyboardInterrupt

    monkeypatch.setattr(talk.screen, "shows", pressed)
    chat.with_one_line(talk, "one")
    assert address.left.wait(10)
    monkeypatch.setattr(talk.screen, "shows", shows)
    chat.with_one_line(talk, "two")
    assert [m["content"] for m in address.asked[1]["messages"]][1:] == ["one", "Hel", "two"]


def test_an_error_is_a_line_and_the_conversation_goes_on(
    address: Address, daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    address.answers = [(503, '{"error": {"message": "too long", "code": "X"}}'), (200, HELLO)]
    talk = talk_with(daemon)
    chat.with_one_line(talk, "one")
    assert capsys.readouterr().err == "fleet: too long\n"
    chat.with_one_line(talk, "two")
    assert [m["content"] for m in address.asked[1]["messages"]][1:] == ["two"]


def test_words_with_a_slash_are_for_us(
    address: Address, daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    address.answers = [(200, HELLO)]
    talk = talk_with(daemon)
    chat.with_one_line(talk, "/stats")
    talk.asks("hi")
    address.models["other.gguf"] = "not-loaded"
    for word in ("/stats", "/help", "/nonsense", "/model other"):
        chat.with_one_line(talk, word)
    said = capsys.readouterr().err
    for part in ("nothing was answered", "1 answer, 2 tokens", "cost so far", "/model NAME"):
        assert part in said
    assert "there is no /nonsense" in said
    assert talk.model == "other.gguf"
    assert len(address.asked) == 1


# Reading and showing


def test_a_stream_is_read_line_by_line() -> None:
    hearing = Hearing()
    assert hearing.line(": queued: 3 before you\n") == [Note(text="queued: 3 before you")]
    assert hearing.line("\n") == []
    assert hearing.line("event: message\n") == []
    assert hearing.line("data: not json\n") == []
    assert hearing.line(chunk(role="assistant", content=None)) == []
    assert hearing.line(chunk(reasoning="hm")) == [Piece(text="hm", thought=True)]
    assert hearing.line(chunk(content="x")) == [Piece(text="x")]
    hearing.line('data: {"timings": {"predicted_n": 4, "predicted_per_second": 31.4}}\n')
    hearing.line("data: [DONE]\n")
    facts = hearing.facts(model="m", device="rig", first_ms=200.0, duration_ms=1200.0)
    assert hearing.done
    assert summary(facts) == "4 tokens, 31.4 tok/s, first after 200 ms, on rig"
    assert stats([facts])[0] == "m: 1 answer, 4 tokens"


def test_a_refusal_in_the_daemon_s_own_form_is_read_too() -> None:
    found = refusal({"code": "BadHost", "text": "loopback only", "hint": "use it"}, 403)
    assert (found.text, found.hint, found.status) == ("loopback only", "use it", 403)
    assert refusal({"error": "plain"}).text == "plain"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain * text, 2 ** 3, a*b", "plain * text, 2 ** 3, a*b"),
        ("**bold** and `co**de`.", f"{BOLD}bold{RESET} and {CYAN}co**de{RESET}."),
        ("# Head\nbody", f"{BOLD}Head{RESET}\nbody"),
        ("- one\n  * two", "• one\n  • two"),
        ("```py\n# x\n- y\n```\nz", f"{DIM}py{RESET}\n{CYAN}# x{RESET}\n{CYAN}- y{RESET}\nz"),
        ("#no head", "#no head"),
        ("**open\nnext", f"{BOLD}open{RESET}\nnext"),
        ("-", "-"),
        ("*", "*"),
        ("**", "**"),
        ("**all**", f"{BOLD}all{RESET}"),
        ("`x`", f"{CYAN}x{RESET}"),
        ("a **", "a **"),
        ("```\na\n```", f"\n{CYAN}a{RESET}\n"),
    ],
)
def test_markdown_is_painted_the_same_however_it_is_cut(text: str, shown: str) -> None:
    whole, cut = Painter(), Painter()
    assert whole.feed(text) + whole.end() == shown
    assert "".join(map(cut.feed, text)) + cut.end() == shown


@pytest.mark.parametrize(
    ("no_colour", "shown"),
    [("", f"{DIM}hm{RESET}\n\n{BOLD}yes{RESET}\n"), ("1", "[thinking]\nhm\n[answer]\n**yes**\n")],
)
def test_a_terminal_shows_reasoning_apart_and_one_line_of_what_is_waited_for(
    no_colour: str,
    shown: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", no_colour)
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    screen = Screen()
    for one in (
        Note(text="queued: 3 before you"),
        Note(text="tiny.gguf is \x1b[2Jloading"),
        Piece(text="hm", thought=True),
        Piece(text="**yes**"),
    ):
        screen.shows(one)
    screen.ends()
    said = capsys.readouterr()
    assert said.out == shown
    waits = ["queued: 3 before you", "tiny.gguf is [2Jloading", ""]
    assert said.err == "".join(CLEAR_LINE + line for line in waits)
