"""Questions to an engine on loopback. Standard library alone: it must start fast, everywhere."""

import http.client
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, final

# An engine that says nothing for so long has hung: a prompt of 100,000 tokens on two cores takes
# less, and a cold kernel's compilation too.
SILENCE_S: Final = 900.0
LOOK_S: Final = 2.0  # a look at its health or its metrics
MAX_REPLY_BYTES: Final = 16 << 20  # one reply that is no stream; metrics are some hundred KiB
MAX_EVENT_BYTES: Final = 1 << 20  # one line of a stream; a piece is under a KiB


class Cut(Exception):
    """The engine did not answer, or not to the end."""


class Refused(Exception):
    """The engine answered that it won't: `status`, and its body."""

    def __init__(self, status: int, data: bytes) -> None:
        super().__init__(f"status {status}")
        self.status, self.data = status, data


@final
class Server:
    """One engine by its address; `key` is shown with every question."""

    def __init__(self, address: str, key: str = "") -> None:
        self.address: Final = address
        self._headers: Final = {"Authorization": f"Bearer {key}"} if key else {}

    def status(self, path: str) -> int:
        """The status of a GET; Cut where nobody answers."""
        return self.status_of("GET", path)

    def status_of(self, method: str, path: str) -> int:
        """The status of a question without a body."""
        link = self._link(LOOK_S)
        try:
            link.request(method, path, headers=self._headers)
            return link.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            raise Cut(str(error)) from error
        finally:
            link.close()

    def page(self, path: str) -> str:
        """A page's text, "" where there is none."""
        link = self._link(LOOK_S)
        try:
            link.request("GET", path, headers=self._headers)
            response = link.getresponse()
            data = response.read(MAX_REPLY_BYTES)
            return data.decode(errors="replace") if response.status == 200 else ""
        except (OSError, http.client.HTTPException):
            return ""
        finally:
            link.close()

    def call(self, method: str, path: str, body: Mapping[str, object]) -> dict[str, object]:
        """One question and its whole answer; Refused or Cut."""
        link = self._link(SILENCE_S)
        try:
            response = self._sent(link, method, path, body)
            data = response.read(MAX_REPLY_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise Cut(str(error)) from error
        finally:
            link.close()
        return _object(data)

    def stream(self, path: str, body: Mapping[str, object]) -> Iterator[bytes]:
        """The answer line by line; Refused before the first, Cut where the connection breaks."""
        link = self._link(SILENCE_S)
        try:
            response = self._sent(link, "POST", path, body)
            while line := response.readline(MAX_EVENT_BYTES):
                yield line
        except (OSError, http.client.HTTPException) as error:
            raise Cut(str(error) or type(error).__name__) from error
        finally:
            link.close()

    def upload(self, path: str, file: Path) -> None:
        """POST a file's bytes as they are."""
        link = self._link(SILENCE_S)
        try:
            with file.open("rb") as data:
                length = {"Content-Length": str(os.fstat(data.fileno()).st_size)}
                link.request("POST", path, data, {**self._headers, **length})
                response = link.getresponse()
                if response.status >= 300:
                    raise Refused(response.status, response.read(MAX_REPLY_BYTES))
        except (OSError, http.client.HTTPException) as error:
            raise Cut(str(error)) from error
        finally:
            link.close()

    def _sent(
        self, link: http.client.HTTPConnection, method: str, path: str, body: Mapping[str, object]
    ) -> http.client.HTTPResponse:
        headers = {**self._headers, "Content-Type": "application/json"}
        link.request(method, path, json.dumps(body), headers)
        response = link.getresponse()
        if response.status >= 300:
            raise Refused(response.status, response.read(MAX_REPLY_BYTES))
        return response

    def _link(self, timeout_s: float) -> http.client.HTTPConnection:
        host, _, port = self.address.rpartition(":")
        return http.client.HTTPConnection(host, int(port), timeout=timeout_s)


def _object(data: bytes) -> dict[str, object]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
