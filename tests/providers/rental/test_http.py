"""The wire to a provider: what is sent once, what is never shown, and what any server may do."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from providers.rental import http
from providers.rental.contract import Op, Reply, Request
from providers.rental.http import HttpWire, address_of
from providers.rental.reading import date_ms
from providers.rental.units import usd_per_hour

KEY = "secret-key-7f3a"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n"
Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class Raw:
    """A server of bytes: reads a request whole, notes it, and lets `answer` do the rest."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.seen: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lower = head.lower()
                if b"content-length:" in lower:
                    size = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
                    head += await reader.readexactly(size)
                self.seen.append(head)
                await self.answer(head, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def methods(self) -> list[str]:
        return [head.split()[0].decode() for head in self.seen]


@asynccontextmanager
async def raw(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Raw]:
    server = Raw(answer)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield server
    finally:
        listening.close()
        for writer in server.writers:
            writer.close()
        for writer in server.writers:
            try:
                await writer.wait_closed()
            except (ConnectionError, ssl.SSLError):
                continue


async def well(head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(OK + b'{"dph":0.41}')
    await writer.drain()


async def only_gets(head: bytes, writer: asyncio.StreamWriter) -> None:
    """What a proxy does that restarts: a kept connection is read from once more, then closed."""
    if head.startswith(b"GET"):
        await well(head, writer)
    else:
        writer.close()


def asked(method: str = "GET", path: str = "/x/", op: Op = "list", **more: object) -> Request:
    return Request(op=op, method=method, path=path, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST", "PATCH"])
async def test_a_change_is_sent_once_when_the_server_reads_it_and_closes(method: str) -> None:
    async with raw(only_gets) as server, HttpWire(server.url, KEY, "Vast.ai") as wire:
        for _ in range(3):
            assert (await wire.send(asked())).status == 200
            reply = await wire.send(asked(method, op="create", body={"price": 0.4}))
            assert reply == Reply(status=0, broke="reset")
    assert server.methods() == ["GET", method] * 3


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
async def test_a_change_has_a_connection_of_its_own(method: str) -> None:
    async with raw(well) as server, HttpWire(server.url, KEY, "Vast.ai") as wire:
        await wire.send(asked())
        await wire.send(asked())
        assert len(server.writers) == 1
        for n in (2, 3):
            assert (await wire.send(asked(method, body={}))).body == {"dph": 0.41}
            assert len(server.writers) == n


async def test_the_key_goes_in_the_header_and_is_shown_nowhere() -> None:
    async with raw(well) as server, HttpWire(server.url, KEY, "Vast.ai") as wire:
        await wire.send(asked(query={"q": '{"a":[1]}'}))
        assert KEY not in repr(wire)
        assert KEY not in str(vars(type(wire)))
    (head,) = server.seen
    assert f"authorization: bearer {KEY}" in head.decode().lower().replace(KEY.lower(), KEY)
    assert KEY not in head.decode().split("\r\n")[0]
    assert "/x/?q=" in head.decode().split("\r\n")[0]


@pytest.mark.parametrize("key", ["a\r\nX-Evil: 1", "a b", "schlüssel", "k" * 5000])
def test_a_key_that_cannot_stand_in_a_header_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValueError, match="the key of Vast.ai") as raised:
        HttpWire("https://console.vast.ai", key, "Vast.ai")
    assert key not in str(raised.value)


async def test_a_key_keeps_no_line_end_of_the_file_it_came_from() -> None:
    async with raw(well) as server, HttpWire(server.url, f"{KEY}\n", "Vast.ai") as wire:
        assert (await wire.send(asked())).status == 200
    assert f"Bearer {KEY}\r\n".encode() in server.seen[0]


async def test_a_redirect_is_not_followed() -> None:
    async def away(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 307 T\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with raw(away) as server, HttpWire(server.url, KEY, "t") as wire:
        for method in ("GET", "PUT"):
            reply = await wire.send(asked(method))
            assert (reply.status, reply.body) == (307, None)
    assert len(server.seen) == 2


async def test_a_reply_that_has_no_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_REPLY_BYTES", 200_000)

    async def endless(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while True:
            writer.write(b" " * 65536)
            await writer.drain()

    async with raw(endless) as server, HttpWire(server.url, KEY, "t") as wire:
        for method in ("GET", "PUT"):
            assert await wire.send(asked(method)) == Reply(status=0, broke="reset")


async def test_a_server_that_says_nothing_is_a_timeout() -> None:
    async def silent(head: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0)

    async with raw(silent) as server, HttpWire(server.url, KEY, "t", limit_s=0.05) as wire:
        for method in ("GET", "PUT"):
            assert await wire.send(asked(method)) == Reply(status=0, broke="timeout")


async def test_a_reply_that_breaks_off_is_a_reset() -> None:
    async def cut(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b'{"dph')
        await writer.drain()
        writer.close()

    async with raw(cut) as server, HttpWire(server.url, KEY, "t") as wire:
        assert await wire.send(asked("PUT")) == Reply(status=0, broke="reset")


async def test_nobody_there_is_unreached() -> None:
    async with raw(well) as server:
        url = server.url
    async with HttpWire(url, KEY, "t") as wire:
        for method in ("GET", "PUT"):
            assert await wire.send(asked(method)) == Reply(status=0, broke="unreached")


async def test_a_certificate_that_nobody_vouches_for_is_not_spoken_to(tmp_path: Path) -> None:
    async with raw(well, _self_signed(tmp_path)) as server, HttpWire(server.url, KEY, "t") as wire:
        for method in ("GET", "PUT"):
            assert await wire.send(asked(method)) == Reply(status=0, broke="unreached")
    assert server.seen == []


def _self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = folder / "cert.pem"
    pem.write_bytes(
        cert.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


@pytest.mark.parametrize(
    ("raw_body", "read"),
    [
        (b"", None),
        (b'{"a":[1,2.5,null]}', {"a": [1, 2.5, None]}),
        (b"API requests too frequent", "API requests too frequent"),
        (b"[" * 5000, "[" * 5000),
        (b'{"a":1e999}', '{"a":1e999}'),
        (b"\xff\xfe", "��"),
    ],
)
async def test_a_body_is_json_or_text(raw_body: bytes, read: object) -> None:
    async def say(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(raw_body) + raw_body)
        await writer.drain()

    async with raw(say) as server, HttpWire(server.url, KEY, "t") as wire:
        assert (await wire.send(asked())).body == read


@pytest.mark.parametrize(
    "written", ["0.149333", "0.3896000001", "999999.999999999", "0.000000001", "128.123456789"]
)
async def test_a_price_keeps_every_digit_that_was_written(written: str) -> None:
    async def say(head: bytes, writer: asyncio.StreamWriter) -> None:
        body = f'{{"dph":{written}}}'.encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    async with raw(say) as server, HttpWire(server.url, KEY, "t") as wire:
        body = (await wire.send(asked())).body
    assert isinstance(body, dict)
    whole, parts = written.split(".")
    assert usd_per_hour(body["dph"]) == int(whole) * 10**9 + int(parts.ljust(9, "0")[:9]) + int(
        len(parts) > 9 and parts[9] >= "5"
    )


async def test_a_headers_name_is_lower_case_and_its_values_are_joined() -> None:
    async def say(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 429 T\r\nRateLimit: a\r\nRATELIMIT: b\r\nRetry-After: 7\r\n"
            b"Date: Mon, 30 Nov 2026 01:02:03 GMT\r\nContent-Length: 0\r\n\r\n"
        )
        await writer.drain()

    async with raw(say) as server, HttpWire(server.url, KEY, "t") as wire:
        reply = await wire.send(asked())
    assert reply.headers["ratelimit"] == "a, b"
    assert reply.headers["retry-after"] == "7"
    assert date_ms(reply.headers["date"]) == 1_796_000_523_000


@pytest.mark.parametrize("said", ["", "yesterday", "Mon, 99 Foo 2026 01:02:03 GMT", "\x00" * 9])
def test_a_date_that_is_none_is_none(said: str) -> None:
    assert date_ms(said) is None


@pytest.mark.parametrize(
    "address",
    ["https://example.org/", "http://127.0.0.1:8080", "http://[::1]:1", "http://localhost"],
)
def test_an_address_from_the_environment_is_https_or_this_machine(address: str) -> None:
    assert address_of("FLEET_VAST_URL", "https://d", {"FLEET_VAST_URL": address}) == (
        address.rstrip("/")
    )
    assert address_of("FLEET_VAST_URL", "https://d", {}) == "https://d"


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org",
        "http://127.0.0.1.example.org",
        "http://10.0.0.5",
        "ftp://127.0.0.1",
        "https://user:pass@example.org",
        "https://example.org/?a=b",
        "//example.org",
        "https://",
        "https://[",
        "x" * 600,
    ],
)
def test_no_other_address_gets_the_key(address: str) -> None:
    with pytest.raises(ValueError, match="FLEET_VAST_URL"):
        address_of("FLEET_VAST_URL", "https://d", {"FLEET_VAST_URL": address})
