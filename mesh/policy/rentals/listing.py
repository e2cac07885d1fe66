"""What a whole listing proves: who is there, who is missing for the first or the second time, and
what carries a label of ours that nobody accounts for."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import final

from mesh.policy.rentals.elsewhere import ELSEWHERE
from mesh.policy.rentals.timers import ABSENCE_MS, DEAD_LOOKS, GAP_MS
from mesh.policy.rentals.unwanted import is_restless
from mesh.policy.rentals.values import Say, Seen
from mesh.state.rentals.account import Account
from mesh.state.rentals.rental import Rental, may_help, rate_of
from mesh.state.rentals.terms import ABSENT, CREATING, GRACE_MS, INTENDED, LAG_MS
from providers.rental.contract import BAD, Row
from providers.rental.labels import read_any

WORDS = {"stopped": "outbid", "exited": "container_exited"}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A listing of which no page was missing; times by the provider's clock."""

    rows: tuple[Row, ...]
    begun_ms: int
    ended_ms: int


def heard_listing(
    account: Account,
    seen: Seen,
    whole: Whole,
    me: str,
    mesh: str,
    *was: str,
    elsewhere: Set[str] = frozenset(),
) -> list[Say]:
    """What it proves of the rentals of an account, open or not. `mesh` is what labels call this
    fleet, `was` what they called it before; `elsewhere` has the rentals of the provider's other
    accounts (`known_elsewhere`), which are theirs until their labels' time is over."""
    owns = account.owner[1] == me
    counts = owns or account.may_rent(me)  # of a second machine nobody else's word is believed
    known = frozenset(one.instance_id for one in account.open())
    ours, by_id = _ours(whole, (mesh, *was), known)
    says: list[Say] = []
    for one in account.open():
        mine = _rows_of(account, one, ours, by_id)
        speaks = owns or may_help(one, whole.ended_ms, me)
        if mine and speaks and _is_copy(one, whole, elsewhere):
            says.append(_closed_copy(one))
        elif mine:
            seen.missing.pop(one.rental_id, None)
            seen.gone.pop(one.rental_id, None)
            says += _present(one, seen, mine, whole, me) if speaks else []
            says += _duplicates(one, mine, whole.begun_ms) if speaks and counts else []
        elif speaks:
            says += missing(one, seen, whole)
    for rental_id, found in ours.items():
        expires = max(expires_ms for _, expires_ms in found)
        rows = [row for row, _ in found]
        if rental_id in elsewhere and whole.ended_ms <= expires + GRACE_MS:
            continue
        if owns or whole.ended_ms > expires + GRACE_MS:
            says += _strange(account, rental_id, rows, expires, seen.listed_ms, whole.ended_ms)
    seen.listed_ms, seen.fails = whole.begun_ms, 0
    return says


def _is_copy(one: Rental, whole: Whole, elsewhere: Set[str]) -> bool:
    """Whether it was found without its intent, which has come since: as another account's."""
    late = whole.ended_ms > one.expires_ms + GRACE_MS
    return one.rental_id in elsewhere and not one.author and one.wanted and not late


def _closed_copy(one: Rental) -> Say:
    """It costs once: in the other account, from the beginning."""
    at_ms = one.called_ms
    fields = {"why": ELSEWHERE, "end_ms": at_ms, "last_ms": at_ms, "proved_ms": at_ms}
    return Say("absence_confirmed", one.rental_id, fields)


Labelled = dict[str, list[tuple[Row, int]]]  # rental -> its rows, each with its label's expiry


def _ours(
    whole: Whole, names: tuple[str, ...], known: frozenset[str]
) -> tuple[Labelled, dict[str, Row]]:
    """Machines by what their labels say, and by the provider's id; one of ours stays ours whatever
    a person calls it now."""
    ours: Labelled = {}
    by_id = {row.instance_id: row for row in whole.rows if row.instance_id in known}
    for row in whole.rows:
        read = read_any(names, row.label)
        if read is not None:
            ours.setdefault(read[0], []).append((row, read[1]))
            by_id[row.instance_id] = row
    return ours, by_id


def _rows_of(account: Account, one: Rental, ours: Labelled, by_id: dict[str, Row]) -> list[Row]:
    """The machines that one rental stands for: its own, and others of its label that are no
    rentals themselves."""
    found = {one.instance_id: by_id[one.instance_id]} if one.instance_id in by_id else {}
    if not one.is_twin:
        found |= {row.instance_id: row for row, _ in ours.get(one.rental_id, ())}
    return [found[each] for each in sorted(found) if _twin(account, one, each) is None]


def _twin(account: Account, one: Rental, instance_id: str) -> Rental | None:
    """The rental that a second machine of a label is; None where nobody said so whose word
    counts."""
    found = account.rentals.get(twin_id(one, instance_id))
    return found if found is not None and found.state else None


def twin_id(one: Rental, instance_id: str) -> str:
    """What a second machine of a rental's label is called."""
    return f"{one.rental_id}.{instance_id}"


def _present(one: Rental, seen: Seen, mine: list[Row], whole: Whole, me: str) -> Iterator[Say]:
    kept = keeps(one, [row.instance_id for row in mine])
    if kept != one.instance_id:
        found = {"instance_id": kept, "why": "found_by_label", "begun_ms": whole.begun_ms}
        yield Say("instance_found", one.rental_id, found)
    looked: int | None = max(one.looked_ms, seen.observed.get(one.rental_id, 0))
    if one.instance_id not in ("", kept):
        looked = None  # it is another than before
    for row in mine:
        if row.instance_id == kept:
            if is_restless(one, me):
                seen.observed[one.rental_id] = whole.begun_ms
            else:
                yield from _looked(one, seen, row, looked, whole.begun_ms)
            yield from _dead(one, seen, row)


def _duplicates(one: Rental, mine: list[Row], begun_ms: int) -> Iterator[Say]:
    """All but the one that stays."""
    kept = keeps(one, [row.instance_id for row in mine])
    for row in mine:
        if row.instance_id != kept:
            yield _duplicate(one, row, begun_ms)


def keeps(one: Rental, found: list[str]) -> str:
    """Of several machines with one label the lowest id stays, whoever looks."""
    return min([*found, one.instance_id] if one.instance_id else found)


def _duplicate(one: Rental, row: Row, begun_ms: int) -> Say:
    fields = {
        "request_id": one.request_id,
        "job_id": one.job_id,
        "label": row.label,
        "instance_id": row.instance_id,
        "rate_nusd": _most_nusd(row, one),
        "since_ms": one.called_ms or begun_ms,
        "expires_ms": one.expires_ms,
    }
    return Say("duplicate_found", twin_id(one, row.instance_id), fields)


def _most_nusd(row: Row, one: Rental | None = None) -> int:
    """The most that a listed machine costs; where the provider does not say, what is known of the
    rental that it belongs to."""
    if row.rate_nusd is None and row.price_nusd <= 0 and one is not None:
        return one.price_nusd or one.quote_nusd
    return max(row.rate_nusd or 0, row.price_nusd, 0)


def _looked(
    one: Rental, seen: Seen, row: Row, looked_ms: int | None, begun_ms: int
) -> Iterator[Say]:
    """What is new of a machine; it may be so since a lag before the last look, if there was one."""
    price = max(0, row.price_nusd)
    rate = rate_of(one, row.status, price, row.rate_nusd)
    known = None if looked_ms is None else (one.status, one.price_nusd, one.rate_nusd)
    if (row.status, price or one.price_nusd, rate) == known:
        seen.observed[one.rental_id] = begun_ms  # of a change the ledger says when it was seen
    else:
        fields = {
            "status": row.status,
            "price_nusd": price,
            "rate_nusd": rate,
            "since_ms": max(one.called_ms, (looked_ms or 0) - LAG_MS),
            "begun_ms": begun_ms,
        }
        yield Say("instance_changed", one.rental_id, fields)


def _dead(one: Rental, seen: Seen, row: Row) -> Iterator[Say]:
    """A machine that is of no use any more, once that is sure."""
    if not one.wanted or row.status not in BAD:
        seen.dead.pop(one.rental_id, None)
        return
    looks = seen.dead[one.rental_id] = seen.dead.get(one.rental_id, 0) + 1
    if row.status != "exited" or looks >= DEAD_LOOKS:
        why = WORDS.get(row.status, row.status)
        yield Say("rental_interrupted", one.rental_id, {"why": why})


def missing(one: Rental, seen: Seen, whole: Whole) -> list[Say]:
    """Absent after two whole listings ABSENCE apart, both begun after the last sign of life and the
    end of the create call, with no blind time between them."""
    if one.state in (INTENDED, CREATING):
        return []
    floor = max(one.settled_ms, one.seen_ms)
    if whole.begun_ms < floor:
        return []
    this = (whole.begun_ms, whole.ended_ms)
    first = seen.missing.setdefault(one.rental_id, this)
    if first[0] < floor or blind(seen, whole):
        first = seen.missing[one.rental_id] = this
    if seen.acked.get(one.rental_id, whole.begun_ms + 1) <= whole.begun_ms:
        seen.gone.setdefault(one.rental_id, whole.ended_ms)
    if not proves(whole, first):
        return []
    return [_absent(one, seen, whole, first)]


def blind(seen: Seen, whole: Whole) -> bool:
    """Whether the listing before this one is too long ago."""
    return whole.ended_ms - seen.listed_ms > GAP_MS


def proves(whole: Whole, first: tuple[int, int]) -> bool:
    """Whether a second listing is far enough from the first one's end."""
    return whole.begun_ms - first[1] >= ABSENCE_MS


def _absent(one: Rental, seen: Seen, whole: Whole, first: tuple[int, int]) -> Say:
    seen.missing.pop(one.rental_id, None)
    last = max(seen.observed.pop(one.rental_id, one.seen_ms), one.called_ms)
    gone = seen.gone.pop(one.rental_id, whole.ended_ms)
    fields = {
        "why": one.over or ("vanished" if one.instance_id else "never_placed"),
        "end_ms": gone if one.instance_id else first[1],
        "last_ms": last,
        "proved_ms": whole.ended_ms,
    }
    return Say("absence_confirmed", one.rental_id, fields)


def _strange(
    account: Account,
    rental_id: str,
    rows: list[Row],
    expires_ms: int,
    last_ms: int,
    now_ms: int,
) -> Iterator[Say]:
    """Labels of ours that no open rental accounts for."""
    one = account.rentals.get(rental_id)
    if one is None or not one.state:
        row = rows[0]
        fields = {
            "label": row.label,
            "instance_id": row.instance_id,
            "rate_nusd": _most_nusd(row),
            "since_ms": last_ms if last_ms > 0 else now_ms,
            "expires_ms": expires_ms,
        }
        yield Say("orphan_found", rental_id, fields)
        return
    for row in rows:
        closed = _twin(account, one, row.instance_id) or one
        if closed.state == ABSENT and not _accounted(account, one, row.instance_id):
            fields = {"instance_id": row.instance_id, "rate_nusd": _most_nusd(row, closed)}
            yield Say("instance_reappeared", closed.rental_id, fields)


def _accounted(account: Account, one: Rental, instance_id: str) -> bool:
    """Whether an open rental of the same label has it."""
    return any(
        other.instance_id == instance_id and other.rental_id.startswith(one.rental_id)
        for other in account.open()
    )
