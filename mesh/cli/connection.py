"""Requests to the daemon over HTTP on loopback, and its refusals in its own words."""

import json
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, BinaryIO, Final
from urllib.parse import quote, urlsplit

from mesh.api.errors import RequestError
from mesh.cli.client import Daemon
from mesh.cli.exits import UNREACHABLE, Stop
from mesh.cli.hints import as_command

# Which routes there are is no word for a person; why one is missing is.
NO_ROUTE: Final = "the daemon does not offer that: it listens to no peers, or is another version"
NO_ROUTE_HINT: Final = "fleet down, then with FLEET_LISTEN=127.0.0.1, fleet up --detach"
ANOTHER: Final = "fleet down, then fleet up --detach"
# What stands in a request's first line as it is. "%" does: it begins what was quoted before.
SAFE: Final = "!$%&'()*+,/:;=?@[]"
STREAM: Final = "text/event-stream"
# Longer than any answer takes, including a verify of a large ledger.
ANSWER_TIMEOUT_S: Final = 120.0
# The largest upload takes minutes on a slow disk.
IMPORT_TIMEOUT_S: Final = 3600.0
# Streams send a comment every 15 s; twice that without a byte means the daemon is gone.
STREAM_TIMEOUT_S: Final = 40.0


def ask(to: Daemon, method: str, path: str, body: bytes | None) -> Any:
    """The JSON answer; RequestError where the daemon refuses, Stop where it is gone."""
    connection, response = _open(to, method, path, body, ANSWER_TIMEOUT_S)
    with closing(connection):
        return _json(response, path)


def ask_text(to: Daemon, path: str) -> tuple[str, Mapping[str, str]]:
    """The text answer, and its headers."""
    connection, response = _open(to, "GET", path, None, ANSWER_TIMEOUT_S)
    with closing(connection):
        try:
            return response.read().decode(), dict(response.headers.items())
        except (OSError, HTTPException, ValueError) as error:
            raise _gone(error) from error


def ask_with_file(to: Daemon, path: str, file: BinaryIO) -> Any:
    """The JSON answer to a file, sent as it is read."""
    connection, response = _open(to, "POST", path, file, IMPORT_TIMEOUT_S)
    with closing(connection):
        return _json(response, path)


def stream(to: Daemon, path: str) -> Iterator[tuple[str, Any]]:
    """(kind, value) of each server-sent event until the server ends the stream."""
    connection, response = _open(to, "GET", path, None, STREAM_TIMEOUT_S)
    try:
        yield from _messages(response)
    except (OSError, HTTPException) as error:
        raise _gone(error) from error
    except (ValueError, RecursionError) as error:
        raise _not_json(path) from error
    finally:
        connection.close()


def _open(
    to: Daemon, method: str, path: str, body: bytes | BinaryIO | None, timeout_s: float
) -> tuple[HTTPConnection, HTTPResponse]:
    """A connection and its answer, or RequestError with the daemon's own words."""
    headers = {"Authorization": f"Bearer {_token(to)}", "Content-Type": "application/json"}
    target = quote(path, safe=SAFE, errors="surrogatepass")
    connection = _connection(to, timeout_s)
    try:
        # Who refuses a long body closes before it is sent; the answer is there all the same.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, target, body, headers)
        response = connection.getresponse()
        if response.status < 400:
            return connection, response
        error = _refused(response)
    except (OSError, HTTPException) as cause:
        connection.close()
        raise _gone(cause) from cause
    connection.close()
    raise error


def _connection(to: Daemon, timeout_s: float) -> HTTPConnection:
    try:
        where = urlsplit(to.url)
        return HTTPConnection(where.hostname or "", where.port, timeout=timeout_s)
    except (ValueError, HTTPException) as error:
        text = f"daemon.json names no address: {to.url[:80]!r}"
        raise Stop(UNREACHABLE, text, ANOTHER) from error


def _token(to: Daemon) -> str:
    """RequestError where its file holds what no request can carry."""
    if to.token.isascii() and to.token.isprintable():
        return to.token
    raise RequestError("Unauthorized", "the file token in FLEET_HOME is damaged", ANOTHER, 401)


def _json(response: HTTPResponse, path: str) -> Any:
    if response.headers.get_content_type() == STREAM:  # it need not end
        raise _not_json(path)
    try:
        return json.loads(response.read())
    except (OSError, HTTPException) as error:
        raise _gone(error) from error
    except (ValueError, RecursionError) as error:
        raise _not_json(path) from error


def _not_json(path: str) -> RequestError:
    """An answer that only another program or a person can read; to a command, one from nowhere."""
    text = f"the daemon answers {path[:200]} with what is not JSON"
    return RequestError("NotJson", text, "docs/openapi.json says how each path answers", 502)


def _refused(response: HTTPResponse) -> RequestError:
    try:
        said = json.loads(response.read())
        if said["code"] == "NoRoute":
            return RequestError("NoRoute", NO_ROUTE, NO_ROUTE_HINT, response.status)
        code, text, hint = (str(said[name]) for name in ("code", "text", "hint"))
        return RequestError(code, text, as_command(hint), response.status)
    except (ValueError, KeyError, TypeError, RecursionError):
        return RequestError("Http", f"the daemon answered {response.status}", "", response.status)


def _gone(error: Exception) -> Stop:
    text = f"the daemon does not answer: {error or type(error).__name__}"
    return Stop(UNREACHABLE, text, "fleet status, then fleet up --detach")


def _messages(response: HTTPResponse) -> Iterator[tuple[str, Any]]:
    kind = "message"
    for raw in response:
        name, _, value = raw.decode().rstrip("\n").partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, json.loads(value)
            kind = "message"
