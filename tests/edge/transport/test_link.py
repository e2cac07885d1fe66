"""Links over real TLS on loopback: members only, one per pair, dead ones noticed, keys pinned."""

import asyncio
import contextlib
import errno
import hashlib
import os
import ssl
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.api.errors import RequestError
from mesh.edge.transport import certificate
from mesh.edge.transport.call import Caller, Unanswered
from mesh.edge.transport.link import (
    MAX_MESSAGE_BYTES,
    Pool,
    pairing_client,
)
from mesh.ledger import signing
from mesh.state.members import ADMIN, VIEWER
from tests.edge.transport.peers import Peer, between, until
from tests.netns.proxy import FaultProxy


async def test_members_link_and_messages_pass_both_ways(tmp_path: Path) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        ana.say, ben.say = b"from ana", b"x" * MAX_MESSAGE_BYTES
        ana.trust(ben)
        ben.trust(ana)
        ana.knows(ben)
        await until(lambda: ana.got and ben.got, "both messages")
        assert ben.got == [(ana.key, b"from ana")]
        assert ana.got == [(ben.key, b"x" * MAX_MESSAGE_BYTES)]
        (link,) = ana.links.all()
        assert (link.outbound, link.peer_key, abs(link.skew_ms)) == (True, ben.key, 0)
        with pytest.raises(ValueError, match="at most"):
            await link.send(b"x" * (MAX_MESSAGE_BYTES + 1))

    await between(tmp_path, check)


async def test_a_clock_that_stands_before_every_certificate_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clocks can't be turned back here, so the certificates begin in 2049: it is the same."""

    async def check(ana: Peer, ben: Peer) -> None:
        ana.trust(ben)
        ben.trust(ana)
        ana.knows(ben)
        await until(lambda: ana.links.get(ben.key) and ben.links.get(ana.key), "the link")

    monkeypatch.setattr(certificate, "BEGINS", b"490101000000Z")
    for cached in (certificate.body_of, certificate.form_of):
        cached.cache_clear()
        monkeypatch.setattr(certificate, cached.__name__, cached.__wrapped__)
    await between(tmp_path, check)


async def test_an_unknown_key_gets_no_link_whichever_side_it_is_on(tmp_path: Path) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        ana.trust(ben)
        ana.knows(ben)
        await until(lambda: ana.tried(ben.port), "the failed dial")
        assert "does not know our key" in ana.tried(ben.port)
        ana.forget(ben)
        ben.trust(ana)
        ben.knows(ana)
        await until(lambda: ben.tried(ana.port), "the other failed dial")
        assert ana.links.all() == ben.links.all() == []

    await between(tmp_path, check)


@pytest.mark.parametrize("dials", ["the old form", "the new form"])
async def test_members_of_the_old_form_of_certificate_and_of_the_new_one_link(
    tmp_path: Path, dials: str
) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        old = certificate.signature_of(ben.who.seed, certificate.V1)
        assert ben.contexts.present(old)
        ben.anchor = (ben.key, old)  # as ben's grant, made by an earlier version, says
        first, second = (ben, ana) if dials == "the old form" else (ana, ben)
        second.pick = list
        ana.trust(ben)
        ben.trust(ana)
        first.knows(second)
        await until(lambda: ana.links.get(ben.key), "the link")
        assert first.links.all()[0].outbound

    await between(tmp_path, check)


def signed_by(member: Peer, stranger: Peer) -> Path:
    """A key file and chain: the stranger's certificate, made by the member's key as if it were an
    authority, and the member's own."""
    body = certificate.body_of(stranger.key)
    issuer, subject = member.key.hex().encode(), stranger.key.hex().encode()
    body = body.replace(subject, issuer, 1)  # the issuer's name stands first
    ids = [hashlib.sha256(one.key).digest()[:20] for one in (stranger, member)]
    own, authority = body.rsplit(ids[0], 1)
    body = own + ids[1] + authority  # the authority's key is named last
    made = certificate._whole(stranger.key, bytes(64), certificate.V3)
    made = made.replace(certificate.body_of(stranger.key), body)
    made = made[:-64] + signing.sign_bytes(member.who.seed, body)
    chain = [made, certificate.certificate(*member.anchor)]
    path = stranger.book._path.parent / "chain.pem"
    text = certificate.private_pem(stranger.who.seed)
    path.write_text(text + "".join(certificate.certificate_pem(one) for one in chain))
    return path


async def test_a_member_is_no_authority_for_others_keys(tmp_path: Path) -> None:
    async def answer(port: int, chain: Path) -> bytes:
        """What a server says to the holder of a chain; b"" where the handshake fails."""
        context = pairing_client()
        context.load_cert_chain(chain)
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            writer.write(b"GET /whoami HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            said = await reader.read()
            writer.close()
            return said
        return b""

    async def check(ana: Peer, ben: Peer) -> None:
        eve = Peer(tmp_path, "eve")
        ben.trust(ana)
        own = tmp_path / "ana.pem"
        text = certificate.private_pem(ana.who.seed)
        own.write_text(text + certificate.certificate_pem(certificate.certificate(*ana.anchor)))
        assert (await answer(ben.port, own)).startswith(b"HTTP/1.1 200")
        assert await answer(ben.port, signed_by(ana, eve)) == b""
        ana.anchor = (ana.key, certificate.signature_of(ana.who.seed, certificate.V1))
        ben.trust(ana)  # the old form does not say that it is no authority: HTTP does
        assert (await answer(ben.port, signed_by(ana, eve))).startswith(b"HTTP/1.1 403")
        ana.anchor = (ana.key, ana.tls)
        ben.trust(ana)

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(signed_by(ana, eve))
        served = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
        port = served.sockets[0].getsockname()[1]
        ben.knows(ana, port)  # eve answers where ben expects ana
        await until(lambda: ben.tried(port), "the dial")
        assert "not the expected member's" in ben.tried(port)
        served.close()

    await between(tmp_path, check)


def test_a_change_of_members_changes_only_what_it_must(tmp_path: Path) -> None:
    ana, ben, cid = (Peer(tmp_path, name) for name in ("ana", "ben", "cid"))
    pool = Pool(ana.contexts)
    pool.become({ben.key: ben.anchor})
    server, client = pool.server(), pool.client(ben.key)
    pool.become({ben.key: ben.anchor, cid.key: cid.anchor})
    assert pool.server() is server  # one anchor more
    assert server.cert_store_stats()["x509"] == 2
    assert pool.client(ben.key) is client
    pool.become({ben.key: ben.anchor})
    assert pool.server() is not server  # nobody can be taken out of the old one
    assert pool.server().cert_store_stats()["x509"] == 1
    assert pool.client(ben.key) is client
    with pytest.raises(KeyError):
        pool.client(cid.key)
    pool.forget()
    assert pool.client(ben.key) is not client


async def test_a_member_in_anothers_place_is_refused(tmp_path: Path) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        cid = Peer(tmp_path, "cid")
        for one in (ana, ben):
            one.trust(cid)
        ana.trust(ben)
        ben.trust(ana)
        ben.pick = list  # ben dials nobody
        ana.knows(cid, ben.port)  # ben listens where ana expects cid
        await until(lambda: ana.tried(ben.port), "the dial")
        assert "not the expected member's" in ana.tried(ben.port)
        assert ana.links.all() == []

    await between(tmp_path, check)


async def test_both_dialling_at_once_leaves_one_link(tmp_path: Path) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        ana.trust(ben)
        ben.trust(ana)
        ana.knows(ben)
        ben.knows(ana)

        def one_and_the_same() -> bool:
            mine, theirs = ana.links.all(), ben.links.all()
            return len(mine) == len(theirs) == 1 and mine[0].outbound != theirs[0].outbound

        await until(one_and_the_same, "one link")

    await between(tmp_path, check)


async def test_a_removed_members_link_ends_and_its_next_one_fails(tmp_path: Path) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        ana.trust(ben)
        ben.trust(ana)
        ana.knows(ben)
        await until(lambda: ana.links.all() and ben.links.all(), "the link")
        ben.forget(ana)
        await ben.links.drop_strangers()
        await until(lambda: not ana.links.all() and ana.tried(ben.port), "the next dial")
        assert "does not know our key" in ana.tried(ben.port)
        assert ben.links.all() == []

    await between(tmp_path, check)


async def test_a_link_comes_back_after_it_broke(tmp_path: Path) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        ana.trust(ben)
        ben.trust(ana)
        ben.pick = list
        ana.knows(ben)
        await until(ben.links.all, "the link")
        first = ben.links.all()[0]
        await first.close()
        await until(lambda: ben.links.all() and ben.links.all()[0] is not first, "the next link")

    await between(tmp_path, check)


async def test_a_hand_given_address_needs_no_key(tmp_path: Path) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        ana.trust(ben)
        ben.trust(ana)
        ana.book.add_given(("127.0.0.1", ben.port))
        ana.dialler.wake()
        await until(lambda: ana.links.get(ben.key), "the link")

    await between(tmp_path, check)


@pytest.mark.parametrize(("role", "status"), [(ADMIN, 200), (VIEWER, 403), ("", 403)])
async def test_each_route_asks_for_its_role(tmp_path: Path, role: str, status: int) -> None:
    import aiohttp

    async def check(ana: Peer, ben: Peer) -> None:
        ana.trust(ben)
        ben.trust(ana, role)
        async with (
            aiohttp.ClientSession() as session,
            session.get(
                f"https://127.0.0.1:{ben.port}/admin",
                ssl=ana.client_context(ben.key),
                server_hostname="x.invalid",
            ) as response,
        ):
            assert response.status == status
            if status == 403:
                assert (await response.json())["code"] in ("WrongRole", "NotAMember")

    await between(tmp_path, check)


async def test_a_member_asks_a_member_and_hears_yes_no_or_nothing(tmp_path: Path) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        ana.trust(ben)
        ben.trust(ana)
        ben.pick = list
        caller = Caller(ana.book, ana)
        with pytest.raises(Unanswered, match="nobody knows where") as lost:
            await caller.call(ben.key, [], "GET", "/whoami")
        assert not lost.value.sent
        with pytest.raises(Unanswered, match="is not reached: .*: connection refused: no daemon"):
            await caller.call(ben.key, [("127.0.0.1", 1)], "GET", "/whoami")
        at = [("127.0.0.1", 1), ("127.0.0.1", ben.port)]  # the first address is nobody's
        assert await caller.call(ben.key, at, "GET", "/whoami") == {"role": ADMIN}
        ben.roles[ana.key] = VIEWER
        with pytest.raises(RequestError, match="needs the role admin"):
            await caller.call(ben.key, at, "GET", "/admin")
        with pytest.raises(Unanswered) as silent:
            await caller.call(ben.key, at, "GET", "/hang", timeout_s=0.3)
        assert silent.value.sent
        ben.forget(ana)  # a connection that is kept brings nothing to who is no member any more
        with pytest.raises(RequestError):
            await caller.call(ben.key, at, "GET", "/whoami")
        await caller.close()
        with pytest.raises(Unanswered):
            await caller.call(ben.key, at, "GET", "/whoami")
        await caller.close()

    await between(tmp_path, check)


async def test_a_stalled_stranger_is_let_go_and_others_still_come_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.edge.transport.listen.HANDSHAKE_S", 0.3)

    async def check(ana: Peer, ben: Peer) -> None:
        silent = [await asyncio.open_connection("127.0.0.1", ben.port) for _ in range(20)]
        ana.trust(ben)
        ben.trust(ana)
        ana.knows(ben)
        await until(lambda: ana.links.get(ben.key), "the link")
        for reader, writer in silent:
            async with asyncio.timeout(10):
                assert await reader.read(1) == b""
            writer.close()

    await between(tmp_path, check)


async def test_a_half_open_link_is_noticed_by_its_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.edge.transport.dial.HEARTBEAT_S", 0.3)
    monkeypatch.setattr("mesh.edge.http.peers.HEARTBEAT_S", 0.3)

    async def check(ana: Peer, ben: Peer) -> None:
        ana.trust(ben)
        ben.trust(ana)
        ben.pick = list
        async with FaultProxy("127.0.0.1", ben.port, delay_s=0.01) as proxy:
            ana.knows(ben, proxy.port)
            await until(lambda: ana.links.all() and ben.links.all(), "the link")
            held = (ana.links.all()[0], ben.links.all()[0])
            proxy.stall()
            await until(
                lambda: held[0] not in ana.links.all() and held[1] not in ben.links.all(),
                "both ends to notice",
            )

    await between(tmp_path, check)


@settings(max_examples=15, deadline=None)
@given(noise=st.lists(st.binary(min_size=1, max_size=2000), min_size=1, max_size=4))
def test_noise_on_the_port_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, noise: list[bytes]
) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        for data in noise:
            reader, writer = await asyncio.open_connection("127.0.0.1", ben.port)
            writer.write(data)
            writer.write_eof()
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()
        ana.trust(ben)
        ben.trust(ana)
        ana.knows(ben)
        await until(lambda: ana.links.get(ben.key), "the link after the noise")

    asyncio.run(between(tmp_path_factory.mktemp("noise"), check))


async def test_who_shows_no_certificate_hears_nothing_of_ours(tmp_path: Path) -> None:
    """TLS itself ends it: no word of HTTP is read from it or said to it."""

    async def check(ana: Peer, ben: Peer) -> None:
        ben.trust(ana)
        reader, writer = await asyncio.open_connection("127.0.0.1", ben.port, ssl=pairing_client())
        heard = b""
        with contextlib.suppress(OSError):
            writer.write(b"GET /v1/peer HTTP/1.1\r\nHost: ben\r\nConnection: close\r\n\r\n")
            heard = await reader.read()
        writer.transport.abort()
        assert heard == b""

    await between(tmp_path, check)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no files in memory here")
def test_a_full_disk_ends_no_handshake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    peer = Peer(tmp_path, "ana")
    monkeypatch.setattr("mesh.edge.transport.link.write_private", full)
    for context in (peer.contexts.client([]), peer.contexts.server([])):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize("in_memory", [True, False])
def test_no_secret_key_stays_on_disk_beside_the_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, in_memory: bool
) -> None:
    if not in_memory:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    peer = Peer(tmp_path, "ana")
    peer.contexts.server([])
    assert [path.name for path in (tmp_path / "ana").iterdir()] == ["identity.key"]
    assert peer.contexts.server([]).minimum_version == ssl.TLSVersion.TLSv1_3
    assert peer.contexts.server([]).num_tickets == 0
