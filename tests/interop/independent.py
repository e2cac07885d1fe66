#!/usr/bin/env python3
"""A verifier of exported ledgers, written from docs/event-format.md alone: an ed25519 library and
the standard library, nothing of this program.

    independent.py EXPORT.jsonl     exit code 0: sound; 1: damaged, cut, or forked

It shares no code with what it checks, and must not come to.
"""

import base64
import hashlib
import json
import re
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

DOMAIN = b"fleet-ledger/event/1\0"
FIELDS = {"author", "device_id", "event_type", "hlc", "payload", "prev", "seq", "timestamp", "v"}
TEXTS = FIELDS - {"payload", "seq", "v"}
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
MAX_BYTES, MAX_LINE, MAX_DEPTH, MAX_INT, MAX_TEXT = 65_536, 131_072, 16, 2**53 - 1, 128
MAX_MS, MAX_COUNTER = 253_402_300_799_999, 99_999
DRIFT_MS = 300_000

Stamp = tuple[int, int]


class Refused(Exception):
    """Why bytes are no event."""


# Names.


def digest(data: bytes, size: int = 32) -> bytes:
    return hashlib.blake2b(data, digest_size=size).digest()


def check_character(text: str) -> str:
    total = 0
    for place, character in enumerate(reversed(text)):
        weighed = ALPHABET.index(character) * (1 if place % 2 else 2)
        total += weighed // 32 + weighed % 32
    return ALPHABET[-total % 32]


def peer_id(author: str) -> str:
    text = base64.b32encode(digest(bytes.fromhex(author))).decode().rstrip("=")
    parts = [text[at : at + 13] for at in range(0, 52, 13)]
    whole = "".join(part + check_character(part) for part in parts)
    return "-".join(whole[at : at + 7] for at in range(0, 56, 7))


def short_id(author: str) -> str:
    return peer_id(author).replace("-", "")[:10].lower()


def event_hash(body: bytes) -> str:
    return digest(body).hex()


def event_id(hash_hex: str) -> str:
    return "evt-" + base64.b32encode(bytes.fromhex(hash_hex)).decode().lower()[:26]


def author_of(seed: bytes) -> str:
    return bytes(SigningKey(seed).verify_key).hex()


def sign(seed: bytes, body: bytes) -> bytes:
    return bytes(SigningKey(seed).sign(DOMAIN + body).signature)


# Bytes.


def canonical(value: dict[str, Any]) -> bytes:
    """The only bytes that encode a body; Refused where it has none."""
    check_value(value, 1)
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        body = text.encode()
    except UnicodeEncodeError:
        raise Refused("a lone surrogate") from None
    if len(body) > MAX_BYTES:
        raise Refused("too long")
    return body


def check_value(value: object, depth: int) -> None:
    if value is None or isinstance(value, (str, bool)):
        return
    if isinstance(value, int):
        if abs(value) > MAX_INT:
            raise Refused("an integer beyond 2**53-1")
        return
    if isinstance(value, float):
        raise Refused("a floating point number")
    if depth > MAX_DEPTH:
        raise Refused("nested too deep")
    inner = value.values() if isinstance(value, dict) else value
    for one in inner:  # type: ignore[attr-defined]
        check_value(one, depth + 1)


def read_json(raw: bytes) -> dict[str, Any]:
    """A JSON object; Refused for anything else."""

    def constant(name: str) -> None:
        raise Refused(f"{name} is no JSON")

    try:
        value = json.loads(raw.decode(), parse_constant=constant)
    except (ValueError, RecursionError):
        raise Refused("not JSON") from None
    if not isinstance(value, dict):
        raise Refused("not an object")
    return value


def read_body(body: bytes) -> dict[str, Any]:
    """The fields of canonical bytes, each as it must be."""
    if len(body) > MAX_BYTES:
        raise Refused("too long")
    value = read_json(body)
    if canonical(value) != body:
        raise Refused("not canonical")
    check_fields(value)
    return value


def check_fields(value: dict[str, Any]) -> None:
    if not value.keys() >= FIELDS:
        raise Refused("a field is missing")
    if not all(isinstance(value[name], str) for name in TEXTS):
        raise Refused("a field is no text")
    if not all(type(value[name]) is int and value[name] >= 1 for name in ("seq", "v")):
        raise Refused("seq or v is no integer from 1")
    if not isinstance(value["payload"], dict):
        raise Refused("the payload is no object")
    if value["v"] == 1 and value.keys() != FIELDS:
        raise Refused("a field too many")
    if not all(re.fullmatch("[0-9a-f]{64}", value[name]) for name in ("author", "prev")):
        raise Refused("author or prev is not 64 hex digits")
    if not 1 <= len(value["event_type"]) <= MAX_TEXT or len(value["device_id"]) > MAX_TEXT:
        raise Refused("a name too long")
    if timestamp(read_stamp(value["hlc"])[0]) != value["timestamp"]:
        raise Refused("timestamp and hlc differ")


# The clock.


def read_stamp(text: str) -> Stamp:
    found = re.fullmatch("([0-9]{13,15})-([0-9]{5})", text)
    if not found or (len(found[1]) > 13 and found[1][0] == "0") or int(found[1]) > MAX_MS:
        raise Refused("not a clock stamp")
    return int(found[1]), int(found[2])


def show_stamp(stamp: Stamp) -> str:
    return f"{stamp[0]:013}-{stamp[1]:05}"


def timestamp(ms: int) -> str:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=ms // 1000)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03}Z"


def next_stamp(last: Stamp, now: int) -> Stamp:
    if now > last[0]:
        return now, 0
    return (last[0], last[1] + 1) if last[1] < MAX_COUNTER else (last[0] + 1, 0)


# Certificates.


def der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 128 | len(length))) + length + content


def oid(text: str) -> bytes:
    first, second, *rest = map(int, text.split("."))
    found = bytes([40 * first + second])
    for number in rest:
        septets = [number & 127]
        while number := number >> 7:
            septets.insert(0, 128 | number & 127)
        found += bytes(septets)
    return der(0x06, found)


def certificate_body(key: bytes) -> bytes:
    """The signed part of a key's certificate."""
    algorithm = der(0x30, oid("1.3.101.112"))
    name = der(0x30, der(0x31, der(0x30, oid("2.5.4.3"), der(0x0C, key.hex().encode()))))
    key_id = hashlib.sha256(key).digest()[:20]
    true = b"\x01\x01\xff"
    usages = der(0x30, oid("1.3.6.1.5.5.7.3.1"), oid("1.3.6.1.5.5.7.3.2"))
    extensions = (
        (oid("2.5.29.19") + true, der(0x30)),
        (oid("2.5.29.15") + true, b"\x03\x02\x07\x80"),
        (oid("2.5.29.37"), usages),
        (oid("2.5.29.17"), der(0x30, der(0x82, b"fleet.invalid"))),
        (oid("2.5.29.14"), der(0x04, key_id)),
        (oid("2.5.29.35"), der(0x30, der(0x80, key_id))),
    )
    return der(
        0x30,
        der(0xA0, der(0x02, b"\x02")),
        der(0x02, b"\x01" + digest(key, 8)),
        algorithm,
        name,
        der(0x30, der(0x17, b"000101000000Z"), der(0x18, b"99991231235959Z")),
        name,
        der(0x30, algorithm, der(0x03, b"\0" + key)),
        der(0xA3, der(0x30, *(der(0x30, head, der(0x04, value)) for head, value in extensions))),
    )


def certificate(seed: bytes) -> tuple[bytes, bytes, bytes]:
    """(signed part, signature, the whole) of a seed's certificate."""
    body = certificate_body(bytes(SigningKey(seed).verify_key))
    signature = bytes(SigningKey(seed).sign(body).signature)
    algorithm = der(0x30, oid("1.3.101.112"))
    return body, signature, der(0x30, body, algorithm, der(0x03, b"\0" + signature))


# Exports.


@dataclass(frozen=True)
class Event:
    """An event that is sound by itself."""

    line: int
    author: str
    seq: int
    prev: str
    hash: str
    stamp: Stamp


@dataclass
class Report:
    """What is wrong with an export: lines that are no event, events that do not fit their chain or
    wait for one that is missing, and authors who signed two histories, with the first number."""

    events: int = 0
    faults: dict[int, str] = field(default_factory=dict)
    waiting: set[int] = field(default_factory=set)
    forks: dict[str, int] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        return not (self.faults or self.waiting or self.forks)


def read_line(number: int, raw: bytes) -> Event:
    if len(raw) > MAX_LINE:
        raise Refused("a line too long")
    value = read_json(raw)
    name, sig = value.pop("id", None), value.pop("sig", None)
    body = canonical(value)
    value = read_body(body)
    found = event_hash(body)
    if name != event_id(found):
        raise Refused("its id is another event's")
    try:
        VerifyKey(bytes.fromhex(value["author"])).verify(DOMAIN + body, bytes.fromhex(sig))
    except (BadSignatureError, ValueError, TypeError):
        raise Refused("its signature is not its author's") from None
    stamp = read_stamp(value["hlc"])
    return Event(number, value["author"], value["seq"], value["prev"], found, stamp)


def verify(lines: "list[bytes]") -> Report:
    """Check every line, then every chain; the order of the lines does not matter."""
    report, found = Report(), {}
    for number, raw in enumerate(lines, 1):
        if not raw.strip():
            continue
        try:
            event = read_line(number, raw)
        except Refused as error:
            report.faults[number] = str(error)
            continue
        found.setdefault(event.hash, event)
    fitting: dict[str, Event] = {}
    firsts: dict[tuple[str, str], str] = {}
    for event in sorted(found.values(), key=lambda one: (one.author, one.seq, one.line)):
        fault = misfit(event, fitting)
        if fault is None:
            report.waiting.add(event.line)
        elif fault:
            report.faults[event.line] = fault
        else:
            fitting[event.hash] = event
            if firsts.setdefault((event.author, event.prev), event.hash) != event.hash:
                report.forks.setdefault(event.author, event.seq)
    report.events = len(fitting)
    return report


def misfit(event: Event, fitting: dict[str, Event]) -> str | None:
    """What is wrong; "" for an event that follows its predecessor, None for one that waits."""
    if event.seq == 1:
        return "" if event.prev == "0" * 64 else "the first prev is not zeros"
    before = fitting.get(event.prev)
    if before is None or (before.author, before.seq + 1) != (event.author, event.seq):
        return None
    return "" if event.stamp > before.stamp else "its clock does not rise"


def main(path: str) -> int:
    report = verify(Path(path).read_bytes().split(b"\n"))
    for line, fault in sorted(report.faults.items()):
        print(f"line {line}: {fault}")
    if report.waiting:
        print(f"{len(report.waiting)} events wait for one that is missing")
    for author, seq in sorted(report.forks.items()):
        print(f"{peer_id(author)} signed two histories from its event {seq} on")
    print(f"{report.events} events: {'sound' if report.sound else 'NOT SOUND'}")
    return 0 if report.sound else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
