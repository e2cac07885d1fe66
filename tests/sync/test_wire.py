"""The pages of the wire say what the programs say: every number, every example."""

import re
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from mesh.edge.pairing import book, endpoint
from mesh.edge.peering import trust
from mesh.edge.peering.mesh import MESH_RATES
from mesh.edge.transport import anteroom, dial, link, links, listen
from mesh.ledger import changes, document, ids
from mesh.policy import pairing
from mesh.sync import desk, messages, quiet, session, talks, versions, wants
from mesh.sync.manifest import digest
from mesh.sync.messages import Batch, Heads, Hello, Pull, Row, Tail
from tests.sync.fleets import Peer, Signer
from tests.sync.sessions import End

DOCS = Path(__file__).parents[2] / "docs"
SYNC = (DOCS / "protocol-sync.md").read_text()
PAIRING = (DOCS / "protocol-pairing.md").read_text()
WIDTH = 96
Lines = list[tuple[str, bytes]]


def conversation(first: int, second: int) -> Lines:
    """What two peers say that hold so many of one author's events."""
    key = Signer(1)
    events = [key.say(f"note {number}") for number in range(1, 6)]
    with tempfile.TemporaryDirectory() as folder:
        ana, ben = Peer(Path(folder) / "ana"), Peer(Path(folder) / "ben")
        for peer, count in ((ana, first), (ben, second)):
            peer.members.add(key.author)
            peer.ledger.take_in(events[:count])
        said: Lines = []
        ends = {"Ana": ana.end(peer=ben.author), "Ben": ben.end(peer=ana.author)}
        while True:
            before = len(said)
            for name, other in (("Ana", "Ben"), ("Ben", "Ana")):
                _turn(name, ends[name], ends[other], said)
            if len(said) == before:
                break
        for peer in (ana, ben):
            peer.ledger.close()
    return said


def _turn(name: str, one: End, two: End, said: Lines) -> None:
    data = one.say()
    if data is not None:
        said.append((f"{name}: {type(one.said[-1]).__name__}", data))
        two.session.receive(data, 0)


def first_sync() -> Lines:
    return conversation(3, 0)


def last_two() -> Lines:
    return conversation(5, 3)


def events_of_it() -> Lines:
    key = Signer(1)
    found: Lines = []
    for number in range(1, 4):
        sig, body = key.say(f"note {number}")
        found.append((f"event {number}", len(body).to_bytes(4, "big") + sig + body))
    return found


CODE = pairing.Code(
    secret=bytes(range(16)),
    fingerprint=pairing.fingerprint(bytes.fromhex(Signer(1).author)),
    port=7434,
    addresses=("192.168.1.20", "fd7a:115c:a1e0::1"),
)
TALK = pairing.Talk(
    host_key=bytes.fromhex(Signer(1).author),
    guest_key=bytes.fromhex(Signer(2).author),
    host_nonce=bytes([1]) * 32,
    guest_nonce=bytes([2]) * 32,
    tls=bytes([3]) * 64,
    name="rig",
)


def code() -> Lines:
    text = pairing.render_code(CODE)
    return [
        ("secret", CODE.secret),
        ("fingerprint", CODE.fingerprint),
        ("invite", bytes.fromhex(pairing.invite_id(CODE.secret))),
        (f"code {text}", b""),
    ]


def pairing_talk() -> Lines:
    secret = CODE.secret
    return [
        ("host key", TALK.host_key),
        ("guest key", TALK.guest_key),
        ("host nonce", TALK.host_nonce),
        ("guest nonce", TALK.guest_nonce),
        ("tls", TALK.tls),
        ("name", TALK.name.encode()),
        ("digest", TALK.digest()),
        ("guest's MAC", pairing.guest_mac(secret, TALK)),
        ("welcome", b"{}"),
        ("host's MAC", pairing.host_mac(secret, TALK, b"{}")),
    ]


def block(lines: Lines) -> str:
    """As the pages show it: a name, then hex in lines that fit."""
    out = []
    for name, data in lines:
        text = data.hex()
        out.append(f"    {name}" + (f" ({len(data)} bytes)" if data else ""))
        out += [f"      {text[at : at + WIDTH]}" for at in range(0, len(text), WIDTH)]
    return "\n".join(out)


@pytest.mark.parametrize(
    ("page", "example"),
    [(SYNC, events_of_it), (SYNC, last_two), (PAIRING, code), (PAIRING, pairing_talk)],
)
def test_the_examples_are_what_is_said(page: str, example: Callable[[], Lines]) -> None:
    assert block(example()) in page


def shown(page: str, name: str) -> list[bytes]:
    """The bytes a page shows under a name."""
    found = re.findall(
        rf"^    {re.escape(name)} \(\d+ bytes\)\n((?:      [0-9a-f]+\n)+)", page, re.MULTILINE
    )
    return [bytes.fromhex("".join(text.split())) for text in found]


def test_the_first_example_is_what_is_said_however_zlib_packs_it() -> None:
    for name, data in first_sync():
        if not name.endswith("Batch"):
            assert block([(name, data)]) in SYNC
            continue
        (written,) = shown(SYNC, name)
        page, said = messages.decode(written), messages.decode(data)
        assert isinstance(page, Batch)
        assert isinstance(said, Batch)
        inside = b"".join(data for _, data in events_of_it())
        assert zlib.decompress(page.events) == zlib.decompress(said.events) == inside
        assert (page.author, page.after, page.last, page.more) == (
            (said.author, said.after, said.last, said.more)
        )


def test_a_peer_written_from_the_page_reads_the_example() -> None:
    """By the page's words alone: MessagePack by hand, no decoder of ours."""
    (hello, *_), (heads, *_), (pull,) = (
        shown(SYNC, name) for name in ("Ben: Hello", "Ana: Heads", "Ben: Pull")
    )
    assert hello[:5] == bytes.fromhex("950002c420")
    assert hello[5:37].hex() in SYNC.split("## Order")[0]  # the digest of nothing
    author = bytes.fromhex(Signer(1).author)
    key = Signer(1)
    last = [ids.event_hash(key.say(f"note {number}")[1]) for number in range(1, 4)][-1]
    row = b"\x94\xc4\x20" + author + b"\x03\xc4\x20" + bytes.fromhex(last) + b"\x00"
    assert heads == b"\x92\x01\x91" + row
    assert pull == b"\x93\x02\xc4\x20" + author + b"\x00"


def test_the_sync_page_says_what_a_quiet_session_is_bound_to() -> None:
    said = " ".join(SYNC.split())
    for text in (
        f"digest `{quiet.SAID.hex()}`",
        f"down to a whole {quiet.GRAIN:,}",
        f"at most {links.MAX_QUIET} removed keys at a time",
        f"for at most {links.QUIET_S / 60:.0f} minutes",
        f"dials {trust.DIALLED} of them at a time, others every {links.QUIET_S / 60:.0f} minutes",
        f"once proven and asked | {listen.MAX_FORMER} in all",
    ):
        assert text in said


def test_the_numbers_of_the_sync_page_are_the_programs() -> None:
    said = " ".join(SYNC.split())
    for number, text in (
        (messages.MAX_MESSAGE_BYTES, "at most {:,} bytes, its kind first"),
        (messages.MAX_ROWS, "| {:,} rows |"),
        (session.MAX_PULLS, "| {:,} unanswered |"),
        (session.MAX_PULLS, "{:,} Pulls, 256 talks"),
        (messages.MAX_BATCH_EVENTS, "| {:,} events, 2,164,864 bytes unpacked |"),
        (messages.MAX_BATCH_BYTES, "| 1,017 events, {:,} bytes unpacked |"),
        (changes.MAX_SYNC_BYTES, "| {:,} bytes of data |"),
        (messages.BATCH_EVENTS, "first seq past {:,} events or 1 MiB"),
        (messages.BATCH_BYTES >> 20, "past 1,000 events or {:,} MiB"),
        (wants.TAIL_EVENTS, "ours behind by 1 to {:,} events"),
        (wants.FIRST_STEP_BACK, "from {:,}, 128, 256 ... events further back"),
        (desk.PATIENCE_MS // 1000, "keeps that claim for {:,} s"),
        (desk.MS_PER_EVENT, "{:,} ms for each new event"),
        (desk.MS_PER_KIB, "{:,} ms for each new KiB"),
        (desk.SLOW_MS // 60_000, "for {:,} minutes to anybody"),
        (talks.MAX_TALKS, "at most {:,} segments"),
        (changes.MAX_HASHES, "at most {:,} heads"),
        (changes.BLOOM_BITS, "a filter has {:,} bits"),
        (changes.BLOOM_PROBES, "bits an entry and {:,} probes"),
        (changes.MAX_CHANGE_BYTES, "{:,} bytes at most when unpacked"),
        (changes.MAX_TRAILER_BYTES, "{:,} bytes at most follow the changes"),
        (document.SEGMENT_EVENTS, "1000 x segment + {}"),
        (versions.MAX_LISTED, "the versions it speaks, at most {:,}"),
        (dial.APART_PAUSE_S / 60, "waits {:.0f} minutes"),
        (link.HEARTBEAT_S, "**Ping** after {:.0f} s"),
        (link.SEND_TIMEOUT_S, "takes nothing for {:.0f} s"),
        (anteroom.MAX_STRANGERS, "| {:,} in all, 8 a place"),
        (anteroom.MAX_PER_ADDRESS, "| 64 in all, {:,} a place"),
        (anteroom.MEMBER_SLOTS, "| {:,} more, 8 a place"),
        (anteroom.MAX_PER_KEY, "| {:,} a key, 512 in all"),
        (anteroom.MAX_PROVEN, "| 160 a key, {:,} in all"),
        (listen.HANDSHAKE_S, "| {:.0f} s | | from there"),
        (listen.FIRST_REQUEST_S, "first request's head | {:.0f} s |"),
        (listen.MAX_ADDRESSES, "| {:,}, the least recent forgotten |"),
        (MESH_RATES[0], "| {:.0f}/s a place (burst 160), 100/s"),
        (MESH_RATES[2], "(burst 160), {:.0f}/s in all (burst 300)"),
        (endpoint.PER_ADDRESS[0], "| {:.0f}/s a place (burst 30)"),
        (endpoint.ALL_ADDRESSES[0], "{:.0f}/s in all (burst 120)"),
        (endpoint.LIFETIME_S, "| {:.0f} s, then it ends |"),
        (endpoint.MAX_PAIRING_BYTES >> 10, "| {:,} KiB |"),
        (endpoint.MAX_NONCES, "| {:,}, the oldest forgotten"),
        (book.MAX_PENDING, "| {:,} waiting, 4 a place"),
        (book.MAX_PENDING_PER_ADDRESS, "waiting, {:,} a place"),
        (book.MAX_IGNORED, "{:,} ignored keys"),
        (dial.MAX_PLACES, "| {:,} places a peer and round"),
        (2 * dial.CONNECT_S, "places a peer and round, {:.0f} s each"),
    ):
        assert text.format(number) in said, text.format(number)
    assert digest({}).hex() in said


def test_the_numbers_of_the_pairing_page_are_the_programs() -> None:
    said = " ".join(PAIRING.split())
    for number, text in (
        (pairing.MAX_USES, "for one guest (at most {:,})"),
        (book.MAX_INVITES, "; {:,} may be open"),
        (endpoint.MAX_PAIRING_BYTES >> 10, "{:,} KiB at most each way"),
        (endpoint.LIFETIME_S, "{:.0f} s at most in all"),
        (listen.FIRST_REQUEST_S, "the first request within {:.0f} s"),
        (pairing.MAX_CODE_ADDRESSES, "at most {:,} times"),
        (endpoint.PER_ADDRESS[0], "rate of the place: {:.0f}/s"),
        (book.MAX_PENDING, "at most {:,} waiting and 4 of one place"),
    ):
        assert text.format(number) in said, text.format(number)
    for name in endpoint.Guest.__struct_fields__:
        assert f"`{name}`" in said
    for name in endpoint.Welcome.__struct_fields__:
        assert f"`{name}`" in said
    assert pairing.parse_code(pairing.render_code(CODE)) == CODE


def test_every_kind_of_message_stands_in_the_table() -> None:
    for kind, fields in (
        (Hello, "protocol = 2, digest: hash, you_seq: seq, you_hash: hash"),
        (Heads, "rows: array of [author: key, seq, hash, fork: seq]"),
        (Pull, "author: key, after: seq"),
        (Batch, "author: key, after: seq, last: seq, more: bool, events: bin"),
        (Tail, "author: key, segment: seq, data: bin"),
    ):
        tag = kind.__struct_config__.tag
        assert re.search(
            rf"^\| {tag} \| {kind.__name__}\b.*{re.escape(fields)}", SYNC, re.MULTILINE
        )
    assert Row.__struct_fields__ == ("author", "seq", "hash", "fork")
