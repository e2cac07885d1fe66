"""A TCP proxy with faults: it delays what passes, stops it without a word, or cuts it off."""

import asyncio
from contextlib import suppress
from typing import Self


class FaultProxy:
    """Passes connections on to `host:port`, after `delay_s` each way."""

    def __init__(self, host: str, port: int, delay_s: float = 0.0) -> None:
        self._to = (host, port)
        self.delay_s = delay_s
        self.running = asyncio.Event()
        self.running.set()
        self._pipes: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    def cut(self) -> None:
        """End every connection at once."""
        for pipe in self._pipes:
            pipe.cancel()

    def stall(self) -> None:
        """Hold everything back: both sides still believe in the connection."""
        self.running.clear()

    async def _accept(self, near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        far, to_far = await asyncio.open_connection(*self._to)
        for source, target in ((near, to_far), (far, to_near)):
            pipe = asyncio.create_task(self._pipe(source, target))
            self._pipes.add(pipe)
            pipe.add_done_callback(self._pipes.discard)

    async def _pipe(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """Bytes leave `delay_s` after they came, in order, as over a long line."""
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1024)
        reading = asyncio.create_task(self._read(source, late))
        loop = asyncio.get_running_loop()
        try:
            while True:
                at, data = await late.get()
                await asyncio.sleep(max(0.0, at + self.delay_s - loop.time()))
                await self.running.wait()
                if not data:
                    return
                target.write(data)
                await target.drain()
        except ConnectionError:
            return
        finally:
            reading.cancel()
            with suppress(RuntimeError):
                target.close()

    async def _read(
        self, source: asyncio.StreamReader, late: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        loop = asyncio.get_running_loop()
        data = b"-"
        while data:
            with suppress(ConnectionError):
                data = await source.read(1 << 16)
            await late.put((loop.time(), data))
