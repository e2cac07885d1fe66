"""What docs/event-format.md says is what is on disk: a verifier written from that page alone agrees
with this program, on what is sound and on what is damaged."""

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.edge.store.ledger import Ledger, Reader
from mesh.edge.store.transfer import parse_line
from mesh.ledger import codec, gate, signing
from mesh.ledger.event import Event
from mesh.ledger.record import Fault
from mesh.policy.words import words_of
from tests.interop import independent, make_vectors
from tests.interop.independent import Refused

NOW = 1_790_000_000_000
VECTORS = json.loads(make_vectors.FILE.read_text())
DOCUMENT = Path(__file__).parents[2] / "docs" / "event-format.md"
AWKWARD = ["naïve – but “it” helped", "😀\uffff\u2028\u200d", 'a"b\\c/d\x7f\x00\x1f\ttab', ""]


def test_the_verifier_shares_no_code_with_what_it_verifies() -> None:
    tree = ast.parse(Path(independent.__file__).read_text())
    names = {
        alias.name if isinstance(node, ast.Import) else str(node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    outside = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
    assert outside == {"nacl"}


# The vectors.


def test_the_vectors_are_what_this_program_writes() -> None:
    assert make_vectors.FILE.read_text() == make_vectors.text(), "see make_vectors.py"


@pytest.mark.parametrize("one", VECTORS["keys"], ids=lambda one: one["peer_id"][:7])
def test_a_keys_names_and_certificate_follow_from_the_page(one: dict[str, str]) -> None:
    seed = bytes.fromhex(one["seed"])
    author = independent.author_of(seed)
    body, signature, whole = independent.certificate(seed)
    assert {
        "author": author,
        "peer_id": independent.peer_id(author),
        "short_id": independent.short_id(author),
        "certificate_body": body.hex(),
        "certificate_signature": signature.hex(),
        "certificate": whole.hex(),
        "recovery_words": " ".join(words_of(seed)),
        "seed": one["seed"],
    } == one


@pytest.mark.parametrize("one", VECTORS["events"], ids=lambda one: one["id"][:12])
def test_an_events_bytes_signature_and_names_follow_from_the_page(one: dict[str, str]) -> None:
    body = independent.canonical(one["body"])  # type: ignore[arg-type]
    assert body.hex() == one["bytes"]
    assert independent.read_body(body) == one["body"]
    assert independent.sign(bytes.fromhex(one["seed"]), body).hex() == one["signature"]
    assert independent.event_hash(body) == one["hash"]
    assert independent.event_id(one["hash"]) == one["id"]
    assert isinstance(gate.inspect(bytes.fromhex(one["signature"]), body), Event)


@pytest.mark.parametrize("one", VECTORS["refused"], ids=lambda one: one["why"])
def test_what_is_no_event_is_none_for_both(one: dict[str, str]) -> None:
    body = bytes.fromhex(one["bytes"])
    with pytest.raises(Refused):
        independent.read_body(body)
    sig = signing.seal(make_vectors.SEEDS[0], body)
    found = gate.inspect(sig, body)
    assert isinstance(found, gate.Reject)
    assert "signature" not in found.reason


def test_the_largest_event_is_one_and_a_byte_more_is_none() -> None:
    value = make_vectors.body_of(make_vectors.SEEDS[0], 1, "0" * 64, "note_added", {"n": ""})
    room = codec.MAX_EVENT_BYTES - len(codec.encode(value))
    body = independent.canonical({**value, "payload": {"n": "x" * room}})
    assert independent.read_body(body)["payload"] == codec.decode(body)["payload"]
    with pytest.raises(Refused, match="too long"):
        independent.canonical({**value, "payload": {"n": "x" * (room + 1)}})


@pytest.mark.parametrize("one", VECTORS["clocks"], ids=lambda one: one["next"])
def test_the_next_stamp_follows_from_the_page(one: dict[str, object]) -> None:
    last = independent.read_stamp(str(one["last"]))
    found = independent.next_stamp(last, int(str(one["now_ms"])))
    assert independent.show_stamp(found) == one["next"]


def test_the_page_names_the_bounds_that_hold() -> None:
    text = DOCUMENT.read_text()
    assert VECTORS["keys"][0]["author"] in text
    assert f"{codec.MAX_EVENT_BYTES:,}" in text
    assert (independent.MAX_BYTES, independent.MAX_DEPTH) == (
        codec.MAX_EVENT_BYTES,
        codec.MAX_DEPTH,
    )


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**54), 2**54) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_both_encode_any_value_alike_or_not_at_all(value: dict[str, object]) -> None:
    try:
        ours: bytes | None = codec.encode(value)
    except codec.EncodeError:
        ours = None
    try:
        theirs: bytes | None = independent.canonical(value)
    except Refused:
        theirs = None
    assert ours == theirs


# Ledgers.


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A ledger of two authors: notes of every kind of text."""
    for name in ("ben", "ana"):
        with Ledger.open(tmp_path / name) as ledger:
            for at, text in enumerate(AWKWARD):
                ledger.append("note_added", f"dev-{text[:20]}", {"text": text, name: at}, NOW + at)
    carry(tmp_path / "ben", tmp_path / "ana", tmp_path / "carried.jsonl")
    return tmp_path / "ana"


def carry(source: Path, target: Path, file: Path) -> None:
    with Ledger.open(source) as one, Ledger.open(target) as other:
        one.export(file)
        other.import_(file)


def exported(home: Path) -> list[bytes]:
    """The lines of an export."""
    with closing(Reader.open(home)) as reader:
        reader.export(home / "export.jsonl")
    return (home / "export.jsonl").read_bytes().splitlines(keepends=True)


def is_verified(home: Path) -> bool:
    reader = Reader.open(home)
    try:
        return reader.verify().ok
    finally:
        reader.close()


def run(path: Path) -> subprocess.CompletedProcess[str]:
    """The verifier as its own program, where this one can't be imported."""
    command = [sys.executable, "-I", str(independent.__file__), str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_sound_ledger_is_sound_for_both(home: Path) -> None:
    lines = exported(home)
    report = independent.verify(lines)
    assert (report.sound, report.events) == (True, 8)
    assert is_verified(home)
    done = run(home / "export.jsonl")
    assert (done.returncode, done.stdout) == (0, "8 events: sound\n")


def test_a_fork_is_seen_by_both(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in home.iterdir():
        if file.is_file():
            (copy / file.name).write_bytes(file.read_bytes())
            (copy / file.name).chmod(0o600)
    for one, text in ((home, "here"), (copy, "there")):
        with Ledger.open(one) as ledger:
            author = ledger.author
            ledger.append("note_added", "", {"text": text}, NOW + 99)
    carry(copy, home, tmp_path / "other.jsonl")
    with Ledger.open(home) as ledger:
        known = dict(ledger.forked())
    report = independent.verify(exported(home))
    assert report.forks == known == {author: 5}
    assert (report.faults, report.waiting) == ({}, set())
    assert not is_verified(home)
    assert run(home / "export.jsonl").returncode == 1


def test_damage_on_disk_is_found_by_both(home: Path) -> None:
    """One letter of one event, wherever the database keeps it."""
    path = home / "ledger.db"
    data = path.read_bytes()
    assert b"helped" in data
    path.write_bytes(data.replace(b"helped", b"heiped"))
    assert not is_verified(home)
    assert not independent.verify(exported(home)).sound


def changed_body(lines: list[bytes]) -> list[bytes]:
    return [lines[0].replace(b"helped", b"heiped"), *lines[1:]]


def changed_body_with_its_id(lines: list[bytes]) -> list[bytes]:
    value = json.loads(lines[0])
    sig, _ = value.pop("sig"), value.pop("id")
    value["payload"]["text"] = "something else"
    name = independent.event_id(independent.event_hash(independent.canonical(value)))
    return [json.dumps({**value, "id": name, "sig": sig}).encode() + b"\n", *lines[1:]]


def swapped_signatures(lines: list[bytes]) -> list[bytes]:
    first, second = (json.loads(line) for line in lines[:2])
    first["sig"], second["sig"] = second["sig"], first["sig"]
    return [json.dumps(one).encode() + b"\n" for one in (first, second)] + lines[2:]


def another_domain(lines: list[bytes]) -> list[bytes]:
    value = json.loads(lines[0])
    value.pop("sig")
    name = value.pop("id")
    seed = bytes([9]) * 32
    value["author"] = signing.author_of(seed)
    body = codec.encode(value)
    name = independent.event_id(independent.event_hash(body))
    sig = signing.sign_bytes(seed, body).hex()
    return [*lines, json.dumps({**value, "id": name, "sig": sig}).encode() + b"\n"]


def a_clock_that_runs_back(lines: list[bytes]) -> list[bytes]:
    seed = bytes([9]) * 32
    made, prev = [], "0" * 64
    for seq in (1, 2):
        value = make_vectors.body_of(seed, seq, prev, "note_added", {})
        value["hlc"] = f"{NOW - seq:013}-00000"
        value["timestamp"] = independent.timestamp(NOW - seq)
        body = codec.encode(value)
        prev = independent.event_hash(body)
        sig = signing.seal(seed, body).hex()
        made.append({**value, "id": independent.event_id(prev), "sig": sig})
    return [*lines, *(json.dumps(one).encode() + b"\n" for one in made)]


DAMAGE: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "nothing": lambda lines: lines,
    "lines in another order": lambda lines: lines[::-1],
    "lines twice": lambda lines: lines * 2,
    "empty lines": lambda lines: [b"\n", *lines, b"  \n"],
    "other spaces": lambda lines: [json.dumps(json.loads(one)).encode() + b"\n" for one in lines],
    "a changed body": changed_body,
    "a changed body with its id": changed_body_with_its_id,
    "swapped signatures": swapped_signatures,
    "signed for another purpose": another_domain,
    "a clock that runs back": a_clock_that_runs_back,
    "a gap": lambda lines: lines[:2] + lines[3:],
    "no beginning": lambda lines: lines[2:],
    "a line cut short": lambda lines: [*lines[:-1], lines[-1][: len(lines[-1]) // 2]],
    "a line in two": lambda lines: [lines[0][:90] + b"\n", lines[0][90:], *lines[1:]],
    "two lines in one": lambda lines: [lines[0].rstrip() + lines[1], *lines[2:]],
    "a line too long": lambda lines: [lines[0][:-1] + b" " * 140_000 + b"\n", *lines[1:]],
    "rubbish": lambda lines: [b"\xff\xfe\n", b"[]\n", b"null\n", b"{}\n", *lines],
}
HARMLESS = ("nothing", "lines in another order", "lines twice", "empty lines", "other spaces")


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_export_is_taken_in_as_far_as_the_verifier_finds_it_sound(
    home: Path, tmp_path: Path, damage: str
) -> None:
    file, fresh = tmp_path / "damaged.jsonl", tmp_path / "fresh"
    file.write_bytes(b"".join(DAMAGE[damage](exported(home))))
    theirs = independent.verify(file.read_bytes().split(b"\n"))
    with Ledger.open(fresh) as ledger:
        ours = ledger.import_(file)
        count = ledger.count()
    assert {one.line for one in ours.rejected} == theirs.faults.keys()
    assert (ours.held, count) == (len(theirs.waiting), theirs.events)
    assert theirs.sound == (damage in HARMLESS)
    assert is_verified(fresh)
    assert run(file).returncode == (0 if theirs.sound else 1)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_changed_byte_of_a_line_is_judged_alike(
    sound: list[bytes], data: st.DataObject
) -> None:
    line = data.draw(st.sampled_from(sound))
    place = data.draw(st.integers(0, len(line) - 2))
    raw = line[:place] + bytes([data.draw(st.integers(0, 255))]) + line[place + 1 :]
    envelope = parse_line(raw)
    ours = not isinstance(envelope, Fault) and isinstance(gate.inspect(*envelope), Event)
    try:
        independent.read_line(1, raw)
    except Refused:
        assert not ours
    else:
        assert ours


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("sound")
    with Ledger.open(folder) as ledger:
        for at, text in enumerate(AWKWARD):
            ledger.append("note_added", "", {"text": text}, NOW + at)
    return exported(folder)
