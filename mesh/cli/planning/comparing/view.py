"""How a comparison looks: what was asked, a line a place, when one is cheaper, what is unknown."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mesh.cli.clouds.sources import show_sources
from mesh.cli.output import clean, money, rate, say, show_age, show_at
from mesh.cli.planning.comparing.words import break_even_text, said_tokens
from mesh.cli.planning.models import tokens
from mesh.cli.planning.plan_view import named
from mesh.cli.table import Column, Table, emit_text, fitted, terminal_width

Row = Mapping[str, Any]

MOST_OF_A_KIND: Final = 8  # rented kinds and APIs of a page; -o json has all
HOUR_MS: Final = 3_600_000
# Of this machine, of one that is described by hand, of hardware that is only asked about.
SAY_PRICE: Final = (
    "A price is said by fleet devices set, for this machine by price in fleet.toml, or in a "
    "--fleet file"
)
WORDS: Final = {"owned": "own", "rented": "rent", "api": "API", "yardstick": "closed"}


def show_compare(found: Row) -> None:
    """The question, every row, the break-evens, refusals, and where prices are from."""
    emit_text(headline(found["question"]), "  ")
    say()
    shown, hidden = few(found["rows"])
    table = fitted(columns(found, shown), shown, terminal_width())
    for line in table.all_lines(shown, "-o json has all"):
        say(line)
    if hidden:
        say()
        emit_text(f"{hidden} dearer kinds of machines and APIs: -o json, or --max-price")
    say()
    emit_text(legend(found, shown, table))
    _show_break_evens(found["break_even"])
    _show_unknown(found["rows"])
    for note in found["notes"]:
        say()
        emit_text(clean(f"Note: {note}."), "  ")
    _show_refused(found["refusals"])
    _show_prices(found)


def headline(asked: Row) -> str:
    """ "qwen3-8b: 2M tokens a day, 75 % of them read, in 8 h; batch 1, context 4k, …"."""
    share = round(100 * asked["prompt_share"], 1)
    hours = asked["work_ms"] / HOUR_MS
    words = [
        f"{asked['model']}: {said_tokens(asked['tokens_per_day'])} tokens a day",
        f"{share:g} % of them read, within {hours:g} h; batch {asked['batch']}",
        f"context {tokens(asked['context'])}",
        f"prompt {tokens(asked['prompt_tokens'])}",
        f"answer {tokens(asked['tokens'])} tokens",
    ]
    return clean(", ".join(words))


def few(rows: Sequence[Row]) -> tuple[list[Row], int]:
    """(what a page shows, how many rows it leaves out): all that is owned, the best of the rest."""
    shown: list[Row] = []
    for kind in WORDS:
        those = [row for row in rows if row["kind"] == kind]
        shown += those if kind == "owned" else those[:MOST_OF_A_KIND]
    return shown, len(rows) - len(shown)


def columns(found: Row, rows: Sequence[Row]) -> tuple[Column[Row], ...]:
    """Where, the hours it takes, and what a day and a million tokens cost there always stay."""
    months = found["question"]["months"]
    return (
        Column(title="", value=lambda row: WORDS[row["kind"]]),
        Column(title="WHERE", value=lambda row: row["name"], least=14),
        Column(title="WEIGHTS", value=lambda row: row["quant"], rank=80, optional=True),
        Column(title="TOK/S", value=_speed, brief=_brief_speed, brief_rank=95, rank=50, right=True),
        Column(title="H/DAY", value=_hours, brief=_brief_hours, brief_rank=94, right=True),
        Column(title="$/DAY", value=_day, brief=_brief_day, brief_rank=90, right=True),
        Column(title="FIXED", value=_fixed, rank=65, right=True, optional=True),
        Column(title="KEPT", value=_kept, rank=60, right=True, optional=True),
        Column(title="$/MONTH", value=_month, rank=30, right=True),
        Column(title="$/M", value=_million, brief=_brief_million, brief_rank=92, right=True),
        Column(title="IN/OUT", value=_in_out, rank=70, right=True, optional=True),
        Column(
            title=f"IN {months} MO" if months else "",
            value=_total if months else lambda _: "",
            rank=25,
            right=True,
            optional=True,
        ),
        Column(title="UNKNOWN", value=_lacks, rank=40, least=8, optional=True),
    )


def _banded(band: Row | None, show: Any, *, full: bool) -> str:
    if band is None:
        return ""
    mid = show(band["p50"])
    ends = show(band["p10"]), show(band["p90"])
    return mid if not full or ends[0] == ends[1] else f"{mid} ({ends[0]}–{ends[1]})"


def _speed(row: Row) -> str:
    return _banded(row["tokens_per_s"], rate, full=True)


def _brief_speed(row: Row) -> str:
    return _banded(row["tokens_per_s"], rate, full=False)


def _in_hours(ms: float) -> str:
    return f"{ms / HOUR_MS:.1f}" if ms >= HOUR_MS / 10 else f"{ms / HOUR_MS:.2f}"


def _hours(row: Row) -> str:
    """Hours of work; of what can't make the amount that it can't."""
    return _said_hours(row, full=True)


def _brief_hours(row: Row) -> str:
    return _said_hours(row, full=False)


def _said_hours(row: Row, *, full: bool) -> str:
    if row["makes"] == "no":
        return f"<{said_tokens(row['at_most_tokens']['p50'])}"
    mark = "?" if row["makes"] == "likely" else ""
    return _banded(row["busy_ms"], _in_hours, full=full) + mark


def _cost(row: Row, band: Row | None, *, full: bool) -> str:
    """ "unknown" where nobody said the price, most of what a device costs; "≥" where its power is
    not known in full."""
    if "price" in row["lacks"] or band is None:
        return "unknown"
    return ("≥" if row["lacks"] else "") + _banded(band, money, full=full)


def _day(row: Row) -> str:
    return _cost(row, row["day_nusd"], full=True)


def _brief_day(row: Row) -> str:
    return _cost(row, row["day_nusd"], full=False)


def _month(row: Row) -> str:
    return _cost(row, row["month_nusd"], full=False)


def _million(row: Row) -> str:
    return _cost(row, row["million_nusd"], full=True)


def _brief_million(row: Row) -> str:
    return _cost(row, row["million_nusd"], full=False)


def _fixed(row: Row) -> str:
    """Of a day: wear and idle power, or the rent of the start."""
    return "" if row["kind"] in ("api", "yardstick") else _cost(row, row["fixed_nusd"], full=False)


def _kept(row: Row) -> str:
    """A day of a machine that is rented the whole hours."""
    return _cost(row, row["kept"]["day_nusd"], full=False) if row["kept"] else ""


def _in_out(row: Row) -> str:
    api = row["api"]
    if api is None:
        return ""
    return f"{money(api['input_nusd_per_million'])}/{money(api['output_nusd_per_million'])}"


def _total(row: Row) -> str:
    return _cost(row, row["total_nusd"], full=False)


def _lacks(row: Row) -> str:
    return ", ".join(row["lacks"])


def legend(found: Row, rows: Sequence[Row], table: Table[Row]) -> str:
    """What the columns and signs mean, as far as they are there."""
    hours = f"{found['question']['work_ms'] / HOUR_MS:g} h"
    titles = {one.title for one in table.shown}
    banded = any(not one.is_brief and one.column.brief is not None for one in table.shown)
    makes, kinds = {row["makes"] for row in rows}, {row["kind"] for row in rows}
    parts = [
        ("TOK/S" in titles, "TOK/S: written, all sequences together."),
        (True, "H/DAY: hours of work. $/M: a million tokens, all in."),
        (banded, "(a–b): p10 to p90."),
        ("no" in makes, f"<N: makes no more than that in {hours}, and is priced for it."),
        ("likely" in makes, f"?: one time in two, not nine in ten, it is done in {hours}."),
        ("FIXED" in titles, "FIXED: of a day, whatever the tokens."),
        ("rented" in kinds, "rent: for the hours of work and the start."),
        ("KEPT" in titles, f"KEPT: rented for all {hours}."),
        ("yardstick" in kinds, "closed: another model, for scale."),
    ]
    return " ".join(text for is_there, text in parts if is_there)


def _show_break_evens(found: Sequence[Row]) -> None:
    """A sentence each; devices of unknown cost in one."""
    if found:
        say("\nBreak-even:")
    for one in found:
        if one["tokens"] is not None:
            emit_text(clean(break_even_text(one)), "    ", "  ")
    unknown = dict.fromkeys(str(one["one_name"]) for one in found if one["tokens"] is None)
    if unknown:
        emit_text(clean(f"{named(list(unknown))}: unknown, as a part of the cost is"), "    ", "  ")


def _show_unknown(rows: Sequence[Row]) -> None:
    """What nobody said of devices, and how to say it."""
    told: dict[str, list[str]] = {}
    for row in rows:
        for lack in row["lacks"]:
            told.setdefault(lack, []).append(str(row["name"]))
    if not told:
        return
    said = "; ".join(f"{lack} of {named(names)}" for lack, names in told.items())
    say()
    emit_text(clean(f"Unknown, and not counted: {said}."), "  ")
    if "price" in told:
        emit_text(f"{SAY_PRICE}.", "  ")


def _show_refused(refusals: Sequence[Row]) -> None:
    """Why not on a device of one's own; of machines to rent how many, by reason."""
    from mesh.cli.planning.plan_rented import is_rented, show_refused_rents

    reasons: dict[str, list[str]] = {}
    for row in refusals:
        if not is_rented(row):
            reasons.setdefault(str(row["text"]), []).append(str(row["device"]))
    if reasons:
        say("\nRefused:")
    for text, names in reasons.items():
        emit_text(clean(f"{named(names)}: {text}"), "    ", "  ")
    show_refused_rents([row for row in refusals if is_rented(row)])


def _show_prices(found: Row) -> None:
    """Where prices are from and how old they are; a price without its age is none."""
    say()
    show_sources(found["sources"])
    if not any(row["kind"] == "api" for row in found["rows"]):
        emit_text(f"APIs: none is known to serve {found['question']['model']}.", "  ")
    for one in found["api_sources"]:
        first, last = (show_at(ms)[:10] for ms in one["written_ms"])
        text = (
            f"APIs: as {one['source'].partition('@')[0]} had them on {show_at(one['seen_ms'])[:10]}"
            f", {show_age(one['age_ms'])} old, written down {first} to {last}."
        )
        emit_text(clean(text), "  ")
