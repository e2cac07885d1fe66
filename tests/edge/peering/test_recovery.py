"""Nobody is locked out: what the recovery words do, how a key leaves, and what doctor advises."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mesh.api.errors import RequestError
from mesh.cli.app import fleet as command
from mesh.cli.exits import Stop
from mesh.edge.identity import Fleet, load_or_create
from mesh.edge.peering.advice import SECOND_ADMIN, advice
from mesh.edge.peering.leaving import leaver
from mesh.edge.peering.recovery import Forked, Recovery, lines_of
from mesh.edge.store.ledger import Ledger
from mesh.edge.store.siblings import MAX_SIBLINGS
from mesh.edge.store.state import load_state
from mesh.edge.store.transfer import parse_line
from mesh.policy.words import words_of
from mesh.state.facts.fact import encode
from mesh.state.facts.member import PeerRemoved
from mesh.state.members import ADMIN, RUNNER, VIEWER
from mesh.state.peer_id import peer_id
from tests.support.homes import NOW, Home, forks, last, let_in


class Three:
    """ana founded the fleet, ben is an admin, cid a runner; all three hold the same ledger."""

    def __init__(self, folder: Path) -> None:
        self.ana, self.ben, self.cid = (Home(folder, name) for name in ("ana", "ben", "cid"))
        self.words = ""

    async def meet(self) -> "Three":
        self.words = " ".join(await self.ana.desk.founding.found())
        await let_in(self.ana, self.ben, ADMIN)
        await let_in(self.ana, self.cid, RUNNER)
        for one in (self.ben, self.cid):
            one.taken(self.ana)
        return self

    def rest(self) -> None:
        """Every daemon is down: others may open the ledgers."""
        for one in (self.ana, self.ben, self.cid):
            one.ledger.close()


@pytest.fixture
async def three(tmp_path: Path) -> Iterator[Three]:  # type: ignore[misc]
    made = await Three(tmp_path).meet()
    yield made
    made.rest()


def run(home: Home, *args: str, stdin: str = "") -> Result:
    env = {"FLEET_HOME": str(home.home), "FLEET_NAME": home.name, "COLUMNS": "80"}
    return CliRunner().invoke(command, list(args), input=stdin, env=env)


def refused(home: Home, *args: str, stdin: str = "") -> Stop:
    error = run(home, *args, stdin=stdin).exception
    assert isinstance(error, Stop), error
    return error


def roles(home: Home) -> dict[str, str]:
    return {one.name: one.role for one in load_state(home.home).members.peers()}


async def test_the_words_make_any_machine_of_the_fleet_an_admin(three: Three) -> None:
    three.rest()
    assert roles(three.cid) == {"ana": ADMIN, "ben": ADMIN, "cid": RUNNER}
    done = run(three.cid, "recover", "-y", stdin=three.words)
    assert done.exit_code == 0, done.output
    assert "this machine, cid, is an admin" in done.stdout
    assert roles(three.cid) == {"ana": ADMIN, "ben": ADMIN, "cid": ADMIN}
    with Ledger.open(three.cid.home) as ledger:
        assert ledger.verify().ok
        made = [e for _, e in ledger.events() if e.event_type == "peer_added"][-1]
    found = Recovery(three.cid.home)
    assert (made.author, made.seq, made.device_id) == (found.public, 1, peer_id(found.public))
    kept = b"".join(p.read_bytes() for p in three.cid.home.iterdir() if p.is_file())
    assert three.words.split()[0].encode() + b" " + three.words.split()[1].encode() not in kept


async def test_the_words_put_a_stolen_founder_out_at_its_last_good_event(three: Three) -> None:
    ana, ben = three.ana, three.ben
    good = last(ana, "peer_added")
    await ana.roster.remove("ben", "by the thief")
    await let_in(ana, Home(ana.home.parent, "eve"), ADMIN)
    ben.take(ana)
    three.rest()
    assert roles(ben) == {"ana": ADMIN, "ben": "", "cid": RUNNER, "eve": ADMIN}
    args = ("recover", "-y", "--remove", "ana", "--keep", good.id, "-o", "json")
    done = run(ben, *args, stdin=three.words)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["admin"], said["removed"]) == ("ben", {"name": "ana", "until": good.seq})
    assert {name for name, role in roles(ben).items() if role} == {"ben", "cid"}
    assert roles(ben)["ben"] == ADMIN


def first_words(stolen: Path, event_type: str, payload: dict[str, object], thieves: Path) -> None:
    """Another first event of a stolen key, as an export."""
    shutil.copy(stolen / "identity.key", thieves)
    with Ledger.open(thieves) as ledger:
        ledger.append(event_type, "", payload, NOW + 500)
        ledger.export(thieves.with_suffix(".jsonl"))


@pytest.mark.parametrize("how", ["leaves in its first word", "shatters from its first word on"])
async def test_the_words_help_where_a_thief_took_back_all_the_founder_signed(
    three: Three, tmp_path: Path, how: str
) -> None:
    ana, ben = three.ana, three.ben
    good = last(ana, "peer_added")
    gone = encode(PeerRemoved(key=ana.who.author, until=0, until_hash="", reason="x"))
    said = [("peer_removed", gone)]
    if how.startswith("shatters"):
        said = [("note_added", {"text": str(n)}) for n in range(MAX_SIBLINGS)]
    for number, (kind, payload) in enumerate(said):
        (tmp_path / f"thief-{number}").mkdir()
        first_words(ana.home, kind, payload, tmp_path / f"thief-{number}")
        ben.ledger.import_(tmp_path / f"thief-{number}.jsonl")
    three.rest()
    assert not any(role for name, role in roles(ben).items() if name)
    rows = Recovery(ben.home).admins()
    assert [(one["name"], one["peer_id"]) for one in rows] == [("ana", peer_id(ana.who.author))]
    args = ("recover", "-y", "--remove", "ana", "--keep", good.id)
    done = run(ben, *args, stdin=three.words)
    assert done.exit_code == 0, done.output
    assert roles(ben) == {"ana": "", "ben": ADMIN, "cid": RUNNER}


async def test_a_person_is_asked_what_was_stolen_and_since_when(
    three: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.cli.machines.recovery._is_a_person", lambda: True)
    good = last(three.ana, "peer_added")
    await three.ana.roster.remove("ben", "by the thief")
    three.cid.take(three.ana)
    three.rest()
    typed = f"{three.words}\nana\n{good.id[:16]}\ny\n"
    done = run(three.cid, "recover", stdin=typed)
    assert done.exit_code == 0, done.output
    assert three.words.split()[0] not in done.output.split()  # what is typed is not shown
    assert "whose key is stolen?" in done.stderr
    shown = done.stdout.splitlines()
    assert [line.split()[2] for line in shown if line.split()[1].startswith("evt-")][-4:] == [
        "peer_removed",
        "peer_added",
        "peer_added",
        "fleet_founded",
    ]
    assert roles(three.cid) == {"ana": "", "ben": ADMIN, "cid": ADMIN}


async def test_two_recoveries_are_one_chain(three: Three) -> None:
    three.rest()
    assert run(three.cid, "recover", "-y", stdin=three.words).exit_code == 0
    args = ("recover", "-y", "--remove", "ben")
    assert run(three.cid, *args, stdin=three.words).exit_code == 0
    public = Recovery(three.cid.home).public
    chain = Recovery(three.cid.home).chain(public)
    assert [event.seq for event in chain] == [1, 2, 3]
    assert chain[1].prev == chain[0].hash
    assert roles(three.cid)["ben"] == ""


@pytest.mark.parametrize(
    ("typed", "code", "says"),
    [
        ("abandon " * 24, 2, "one is wrong or two"),
        ("abandon", 2, "1 words, there are 24"),
        (" ".join(words_of(bytes(32))), 106, "another fleet's words"),
        ("", 2, "0 words"),
    ],
)
async def test_other_words_change_nothing(three: Three, typed: str, code: int, says: str) -> None:
    three.rest()
    error = refused(three.cid, "recover", "-y", stdin=typed)
    assert (error.exit_code, says in error.text) == (code, True), error.text
    assert roles(three.cid)["cid"] == RUNNER


async def test_a_mistyped_word_is_named(three: Three) -> None:
    three.rest()
    words = three.words.split()
    words[6] = "zoo" if words[6] != "zoo" else "abandon"
    error = refused(three.cid, "recover", "-y", stdin=" ".join(words))
    assert error.text == f"word 7, {words[6]!r}, is wrong"


async def test_without_a_yes_nothing_is_signed(three: Three) -> None:
    three.rest()
    error = refused(three.cid, "recover", stdin=three.words)
    assert error.hint == "the same command with -y"
    assert roles(three.cid)["cid"] == RUNNER


async def test_who_is_an_admin_already_is_told_so(three: Three) -> None:
    three.rest()
    error = refused(three.ben, "recover", "-y", stdin=three.words)
    assert error.text == "this machine is an admin already"
    assert refused(three.ben, "recover", "-y", "--keep", "evt-x").exit_code == 2


async def test_of_a_forked_thief_the_good_history_is_chosen(three: Three, tmp_path: Path) -> None:
    here, there = forks(three.ben, tmp_path)
    three.cid.take(three.ben)
    three.rest()
    with pytest.raises(Forked):
        Recovery(three.cid.home).removal("ben", "")
    result = run(three.cid, "recover", "-y", "--remove", "ben", stdin=three.words)
    assert isinstance(result.exception, Stop)
    assert result.exception.exit_code == 3
    for event in (here, there):
        assert f"fleet recover --remove ben --keep {event[:16]}" in result.stdout
    args = ("recover", "-y", "--remove", "ben", "--keep", there[:16])
    assert run(three.cid, *args, stdin=three.words).exit_code == 0
    assert roles(three.cid)["ben"] == ""


async def test_a_frozen_machine_recovers_on_another(three: Three, tmp_path: Path) -> None:
    forks(three.cid, tmp_path)
    with pytest.raises(RequestError, match="signs no more") as error:
        Recovery(three.cid.home).grant()
    assert "on another machine" in error.value.hint
    with pytest.raises(RequestError, match="own key can't be removed from here"):
        Recovery(three.cid.home).removal("cid", "")


async def test_a_machine_without_a_fleet_or_words_has_nothing_to_recover(
    tmp_path: Path,
) -> None:
    alone = Home(tmp_path, "alone")
    with pytest.raises(RequestError, match="in no fleet"):
        Recovery(alone.home)
    await alone.belong(Fleet(root=alone.who.author))
    with pytest.raises(RequestError, match="holds nothing of the fleet yet"):
        Recovery(alone.home)
    await alone.emit("note_added", "", {"text": "the founder's first word"})
    with pytest.raises(RequestError, match="an earlier version founded it") as error:
        Recovery(alone.home)
    assert error.value.hint.endswith("fleet recovery new")
    alone.ledger.close()


async def test_what_is_handed_in_is_what_an_export_holds(three: Three) -> None:
    from mesh.policy.words import seed_of

    found, seed = Recovery(three.cid.home), seed_of(three.words)
    made = found.sign(seed, [found.removal("ben", ""), found.grant()], NOW)
    lines = lines_of(made).splitlines()
    assert [parse_line(line) for line in lines] == made
    assert seed not in lines_of(made)
    assert three.words.encode() not in lines_of(made)


# Leaving.


async def test_a_key_that_is_given_up_says_so_itself(three: Three) -> None:
    three.rest()
    done = run(three.ben, "identity", "reset", "-y")
    assert done.exit_code == 0, done.output
    assert "on ana: fleet invite; then here: fleet join CODE" in done.stderr
    assert roles(three.ben)["ben"] == ""
    old = three.ben.who.author
    with Ledger.open(three.ben.home) as ledger:
        gone = [e for _, e in ledger.events() if e.event_type == "peer_removed"][-1]
    assert (gone.author, gone.payload["key"], gone.payload["until_hash"]) == (old, old, "")
    assert load_or_create(three.ben.home).author != old


async def test_a_copied_disk_leaves_its_key_to_the_other_copy(three: Three) -> None:
    three.rest()
    done = run(three.cid, "identity", "reset", "-y", "--copied", "-o", "json")
    assert json.loads(done.stdout)["left"] is False
    assert roles(three.cid)["cid"] == RUNNER


async def test_a_frozen_key_is_given_up_without_a_word_and_removed_by_another(
    three: Three, tmp_path: Path
) -> None:
    forks(three.cid, tmp_path)
    three.rest()
    done = run(three.cid, "identity", "reset", "-y")
    assert done.exit_code == 0, done.output
    assert "on ana: fleet invite, and fleet peers remove cid" in done.stderr


async def test_the_only_admin_keeps_its_key_until_there_is_another(
    tmp_path: Path,
) -> None:
    ana, ben = Home(tmp_path, "ana"), Home(tmp_path, "ben")
    await let_in(ana, ben)
    for one in (ana, ben):
        one.ledger.close()
    error = run(ana, "identity", "reset", "-y").exception
    assert isinstance(error, RequestError)
    assert "the fleet's only admin" in error.text
    assert error.hint.endswith("fleet peers role ben admin")
    assert load_or_create(ana.home).author == ana.who.author
    assert run(ana, "identity", "reset", "-y", "--new-fleet").exit_code == 0


async def test_a_frozen_founder_of_one_is_told_of_the_words(
    tmp_path: Path,
) -> None:
    ana, ben = Home(tmp_path, "ana"), Home(tmp_path, "ben")
    await let_in(ana, ben)
    forks(ana, tmp_path)
    found = leaver(ana.home)
    assert found is not None
    found.refuse_last_admin()  # it can't make another any more
    assert found.way_back(left=False).startswith("on another machine of the fleet: fleet recover")
    for one in (ana, ben):
        one.ledger.close()


# Advice.


async def test_doctor_advises_a_second_admin_while_there_is_one(tmp_path: Path) -> None:
    ana, ben = Home(tmp_path, "ana"), Home(tmp_path, "ben")
    assert advice(ana.home, NOW) == []
    await ana.desk.founding.found()
    assert advice(ana.home, NOW) == []  # nobody is there to be one
    await let_in(ana, ben)
    assert advice(ana.home, NOW) == [("admins", "one, ana: nobody could replace it", SECOND_ADMIN)]
    await ana.roster.role("ben", ADMIN)
    assert advice(ana.home, NOW) == []
    for one in (ana, ben):
        one.ledger.close()


async def test_doctor_says_who_can_give_an_old_fleet_its_words(tmp_path: Path) -> None:
    ana, ben = Home(tmp_path, "ana"), Home(tmp_path, "ben")
    await ana.belong(Fleet(root=ana.who.author))
    said = {"key": ana.who.author, "name": "ana", "role": ADMIN, "tls": "", "epoch": 1, "since": 1}
    await ana.emit("peer_added", "", said)  # as earlier versions founded a fleet
    await let_in(ana, ben, ADMIN)
    ben.taken(ana)
    assert [one[2] for one in advice(ana.home, NOW)] == ["fleet recovery new"]
    assert [one[2] for one in advice(ben.home, NOW)] == ["on ana: fleet recovery new"]
    await ana.desk.founding.add_recovery()
    assert advice(ana.home, NOW) == []
    for one in (ana, ben):
        one.ledger.close()


async def test_doctor_says_what_to_do_about_a_forked_key(three: Three, tmp_path: Path) -> None:
    forks(three.ben, tmp_path)
    three.cid.take(three.ben)
    what, state, fix = advice(three.cid.home, NOW)[0]
    assert (what, fix) == ("key ben", "fleet peers remove ben lists them")
    assert "FORKED: two histories from its event 1 on" in state
    assert (
        advice(three.ben.home, NOW)[0][2] == "fleet identity reset here, then fleet invite on ana"
    )


async def test_peers_shows_who_forked_and_a_removal_lists_the_histories(
    three: Three, tmp_path: Path
) -> None:
    forks(three.ben, tmp_path)
    three.cid.take(three.ben)
    three.rest()
    shown = run(three.cid, "peers").stdout
    assert "offline, FORKED" in shown
    assert "fleet peers remove ben" in shown
    rows = json.loads(run(three.cid, "peers", "-o", "json").stdout)
    assert {row["name"]: row["forked_at"] for row in rows} == {"ana": None, "ben": 1, "cid": None}
    assert {row["name"]: row["role"] for row in rows}["cid"] == RUNNER != VIEWER


async def test_doctor_names_a_key_whose_clock_was_once_far_ahead(tmp_path: Path) -> None:
    ana, ben = Home(tmp_path, "ana"), Home(tmp_path, "ben")
    await let_in(ana, ben)
    ben.taken(ana)
    ben.ledger.append("note_added", "", {"text": "from 2100"}, 4_102_444_800_000)
    ana.take(ben)
    (clock,) = [one for one in advice(ana.home, NOW) if one[0].startswith("clock")]
    assert clock[0] == "clock of ben"
    assert "dated 2100-01-01" in clock[1]
    assert clock[2].endswith("fleet identity reset there")
    ana.ledger.close()
    ben.ledger.close()
