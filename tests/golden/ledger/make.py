"""Makes the kept ledgers of this folder with the code as it stood before facts had structs.

It runs on that code alone (README.md says which commit): it calls the writers by the names they
had then, and need not run on a later tree. Keys, clock, hardware and outcomes are fixed, so a
second run writes the same bytes.

    PYTHONSAFEPATH=1 PYTHONPATH=OLD_TREE:THIS_TREE python tests/golden/ledger/make.py
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from mesh.views import load_state

from mesh.edge.store import Ledger
from mesh.ledger.event import Event, order_key
from mesh.state.fold import fold_all
from mesh.state.state import State
from tests.golden.ledger.describe import described, digest
from tests.golden.ledger.junk import cases, folded
from tests.golden.ledger.story import CLOCK, SEEDS, fixed, whole

HERE = Path(__file__).parent


def forked(folder: Path, out: Path) -> dict[str, object]:
    """A folder that was copied: two histories from seq 4 on, both taken in by a third peer.

    Returns what a new ledger says that takes in the exported file.
    """
    home = folder / "twin"
    home.mkdir(mode=0o700)
    (home / "identity.key").touch(mode=0o600)
    (home / "identity.key").write_bytes(SEEDS["twin"])
    with Ledger.open(home) as ledger:
        for number in range(3):
            ledger.append("note_added", "", {"text": f"before {number}"}, CLOCK())
    copy = Path(shutil.copytree(home, folder / "copy"))
    third = folder / "third"
    for side in (home, copy):
        with Ledger.open(side) as ledger:
            for number in range(2):
                ledger.append("note_added", "", {"text": f"{side.name} {number}"}, CLOCK())
            ledger.export(side / "all.jsonl")
        with Ledger.open(third) as ledger:
            ledger.import_(side / "all.jsonl")
    with Ledger.open(third) as ledger:
        ledger.export(out)
    with Ledger.open(folder / "fresh") as ledger:
        report = ledger.import_(out)
        return {
            "admitted": report.admitted,
            "rejected": [one.text for one in report.rejected],
            "findings": [[one.author, one.seq, one.text] for one in ledger.verify().findings],
            "state": described(load_state(folder / "fresh")),
        }


def command(home: Path, *words: str) -> object:
    """The JSON a command of the old code prints about this home."""
    env = os.environ | {"FLEET_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", "mesh", *words, "-o", "json"], env=env, capture_output=True,
        check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def expected(state: State) -> dict[str, object]:
    """What a later program must say of the same ledger."""
    says = described(state)
    return {"sha256": digest(says), "state": says}


def write(name: str, value: object) -> None:
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
    (HERE / name).write_text(text + "\n")


def keep(home: Path, folder: Path) -> None:
    """The exported ledger, the home as it lay on disk, and what the old code says of them."""
    kept = HERE / "home"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    for name in ("ledger.db", "fleet.json", "pairing.json", "addresses.json"):
        shutil.copyfile(home / name, kept / name)
    with Ledger.open(home) as ledger:
        count = ledger.export(HERE / "ledger.jsonl")
        report = ledger.verify()
        assert report.ok, report.findings
        events = [event for _, event in ledger.events()]
        state = load_state(home)
        few = folded_with(events, state, keep_ended=3)
        write("expected.json", expected(state) | {
            "events": count, "types": sorted({event.event_type for event in events}),
            "with three ended jobs kept": described(few),
            "verify": command(home, "verify"),
        })  # fmt: skip
    write("fork.json", forked(folder, HERE / "fork.jsonl"))
    write("junk.json", {name: digest(described(folded(story)))[:16] for name, story in cases()})


def folded_with(events: Iterable[Event], known: State, keep_ended: int) -> State:
    """Every event folded by the members already learned, few ended jobs kept whole."""
    return fold_all(sorted(events, key=order_key), known.members.copy(), keep_ended)


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch, fixed():
        folder = Path(scratch)
        home = asyncio.run(whole(folder))
        keep(home, folder)
    print(f"kept in {HERE}", file=sys.stderr)


if __name__ == "__main__":
    main()
