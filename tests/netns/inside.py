"""The API of a daemon in a network namespace, reached through a unix socket."""

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.netns.lab import Host

# Carries a unix socket's connections to a port of the namespace it runs in.
RELAY = """
import asyncio, sys
async def pipe(a, b):
    try:
        while data := await a.read(65536):
            b.write(data); await b.drain()
    finally:
        b.close()
async def main():
    async def serve(r, w):
        try:
            fr, fw = await asyncio.open_connection('127.0.0.1', int(sys.argv[2]))
        except OSError:
            return w.close()  # the daemon is down
        await asyncio.gather(pipe(r, fw), pipe(fr, w), return_exceptions=True)
    server = await asyncio.start_unix_server(serve, sys.argv[1])
    print('ready', flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


class Inside:
    """The API of a daemon in a namespace, through a unix socket."""

    def __init__(self, host: Host) -> None:
        self.host = host
        said = json.loads((host.home / "daemon.json").read_text())
        self.pid, port = int(said["pid"]), said["url"].rpartition(":")[2]
        self.token = (host.home / "token").read_text().strip()
        self.path = str(host.home / "api.sock")
        Path(self.path).unlink(missing_ok=True)
        self._relay = subprocess.Popen(
            host.inside(sys.executable, "-c", RELAY, self.path, port), stdout=subprocess.PIPE
        )
        assert self._relay.stdout is not None
        self._relay.stdout.readline()
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: dict[str, object] | None = None) -> Any:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1")
            self._connection.sock = socket.socket(socket.AF_UNIX)
            self._connection.sock.connect(self.path)
        data = json.dumps(body or {}).encode() if method == "POST" else None
        self._connection.request(method, path, data, {"Authorization": f"Bearer {self.token}"})
        return json.loads(self._connection.getresponse().read())

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        assert self._relay.stdout is not None
        self._relay.stdout.close()
        self._relay.terminate()
        self._relay.wait()


@contextmanager
def in_namespace(host: Host) -> Iterator[Inside]:
    """The API of a host's daemon for a while."""
    made = Inside(host)
    try:
        yield made
    finally:
        made.close()
