"""Reads GGUF headers over HTTP(S) by byte ranges: a few megabytes of a file of any size.

Bounded in bytes and time whatever the server does; one that ignores ranges is refused.
"""

import http.client
import time
import urllib.error
import urllib.parse
import urllib.request

from mathcore.gguf.cursor import MAX_HEADER_BYTES
from mathcore.gguf.header import GgufHeader, fetch_header, leap_header
from mathcore.gguf.split import join_headers, shard_names
from mathcore.model.spec import SpecError
from providers.base import ModelError
from providers.sources.gguf import whole

SILENCE_S = 15.0  # without one byte; a far server answers within a second or two
TOTAL_S = 60.0  # for all headers of one model; 20 MiB over a 4 Mbit/s line
STEP_BYTES = 64 << 10  # between two looks at the clock


class _Ranges:
    """One URL's bytes, fetched as asked."""

    def __init__(self, url: str, deadline: float) -> None:
        self.url = url
        self.deadline = deadline
        self.size = -1  # of the file, once the server has said it
        self.left = MAX_HEADER_BYTES

    def fetch(self, offset: int, size: int) -> bytes:
        """What is at `offset`; fewer bytes than `size` only at the file's end."""
        if self.size >= 0 and offset >= self.size:
            return b""
        if size > self.left:
            raise SpecError("header", f"needs more than {MAX_HEADER_BYTES} bytes of the file")
        asked = f"bytes={offset}-{offset + size - 1}"
        request = urllib.request.Request(self.url, headers={"Range": asked, **_PLAIN})
        with _OPENER.open(request, timeout=min(SILENCE_S, self._rest())) as reply:
            if reply.status != 206:
                raise ModelError(
                    f"{_host(self.url)} sends whole files only: it ignores byte ranges",
                    "download the file and name its path",
                )
            self._check(reply.headers.get("Content-Range", ""), offset)
            return self._body(reply, min(size, self.size - offset))

    def _check(self, said: str, offset: int) -> None:
        """The range must be the one asked for, of a file that keeps its size."""
        unit, _, rest = said.partition(" ")
        span, _, size = rest.partition("/")
        if unit != "bytes" or not size.isdecimal() or span.partition("-")[0] != str(offset):
            raise SpecError("Content-Range", f"'{said[:80]}' is not the range asked for")
        if self.size not in (-1, int(size)):
            raise SpecError("Content-Range", "the file changed while its header was read")
        self.size = int(size)

    def _body(self, reply: http.client.HTTPResponse, size: int) -> bytes:
        parts: list[bytes] = []
        while size > 0:
            self._rest()
            part = reply.read1(min(size, STEP_BYTES))
            if not part:
                raise SpecError("header", "the connection ended in the middle of it")
            parts.append(part)
            size -= len(part)
            self.left -= len(part)
        return b"".join(parts)

    def _rest(self) -> float:
        rest = self.deadline - time.monotonic()
        if rest <= 0:
            raise ModelError(
                f"{_host(self.url)} took more than {TOTAL_S:.0f} s to send the header",
                "try again, or download the file and name its path",
            )
        return rest


# Ranges of a compressed body would be ranges of something else.
_PLAIN = {"Accept-Encoding": "identity", "User-Agent": "fleet-ledger"}


def _opener() -> urllib.request.OpenerDirector:
    """HTTP and HTTPS with redirects and the environment's proxies; no files, no FTP."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


_OPENER = _opener()


def _host(url: str) -> str:
    """Whom we talk to; the rest of a URL may hold a token."""
    return urllib.parse.urlsplit(url).hostname or "the server"


def file_name(url: str) -> str:
    """The last part of the URL's path, decoded."""
    return urllib.parse.unquote(urllib.parse.urlsplit(url).path.rpartition("/")[2])


def _shard_urls(url: str) -> list[str]:
    parts = urllib.parse.urlsplit(url)
    folder, _, name = parts.path.rpartition("/")
    names = shard_names(name)
    return [parts._replace(path=f"{folder}/{name}").geturl() for name in names]


def read_url(url: str) -> GgufHeader:
    """The header of the whole model at `url`, all its files; SpecError, ModelError."""
    deadline = time.monotonic() + TOTAL_S
    headers: list[GgufHeader] = []
    for shard in _shard_urls(url):
        ranges = _Ranges(shard, deadline)
        headers.append(_one(ranges))
    return join_headers(headers)


def _one(ranges: _Ranges) -> GgufHeader:
    host = _host(ranges.url)
    try:
        ranges.fetch(0, 8)  # the server says the file's size with its first byte
        header = leap_header(ranges.fetch, ranges.size) or fetch_header(ranges.fetch)
        return whole(header, ranges.size)
    except urllib.error.HTTPError as error:
        error.close()
        hint = {401: "it needs a login: download the file", 403: "it needs a login: download it"}
        raise ModelError(
            f"{host} answered {error.code} for {file_name(ranges.url)}",
            hint.get(error.code, "check the URL"),
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise ModelError(
            f"cannot read from {host}: {reason}", "check the URL and the line"
        ) from error
