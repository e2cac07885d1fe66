"""When one is cheaper than another: both cost the same there, and the side said is the cheaper."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from mathcore.band import Band
from mathcore.units import NUSD
from mesh.policy.compare.amounts import MILLION, Line, sure
from mesh.policy.compare.break_even import Crossing, break_even, crossing, crossings, payback
from mesh.policy.compare.compared import compared
from mesh.policy.compare.render import break_even_dict
from mesh.policy.compare.rows import api_row, owned_row, rented_row
from tests.policy.compare.held import amount, api, owned, placed, quote

MONEY = st.integers(0, 10**12)


def line(fixed: int, each: int) -> Line:
    return Line(fixed=sure(fixed), per_million=sure(each))


def test_a_fixed_dollar_is_back_after_as_many_millions_as_cost_a_dollar() -> None:
    # $1 a day and $0.10 a million, against $0.35 a million: $1 / $0.25 = 4 million a day.
    found = crossings(line(NUSD, NUSD // 10), line(0, 35 * NUSD // 100))
    assert found == (Crossing("from", Fraction(4 * MILLION)),) * 3


def test_cheaper_at_every_number_or_at_none() -> None:
    assert crossing(Fraction(-1), Fraction(-1)).side == "always"
    assert crossing(Fraction(0), Fraction(-1)).side == "always"
    assert crossing(Fraction(1), Fraction(0)).side == "never"
    assert crossing(Fraction(0), Fraction(0)).side == "never"
    assert crossing(Fraction(-5), Fraction(1)) == Crossing("up to", Fraction(5 * MILLION))


@given(MONEY, MONEY, MONEY, MONEY)
def test_at_the_break_even_both_cost_the_same_and_the_side_is_right(
    fixed: int, each: int, its_fixed: int, its_each: int
) -> None:
    one, other = line(fixed, each), line(its_fixed, its_each)
    found = crossings(one, other)[1]
    tokens = found.tokens
    if found.side in ("from", "up to"):
        assert tokens > 0
        assert one.at(sure(tokens)) == other.at(sure(tokens))
        more, less = sure(2 * tokens), sure(tokens / 2)
        dear, cheap = (less, more) if found.side == "from" else (more, less)
        assert one.at(cheap).mid < other.at(cheap).mid
        assert one.at(dear).mid > other.at(dear).mid
    else:
        signs = {one.at(sure(n)).mid - other.at(sure(n)).mid > 0 for n in (1, MILLION, 10**15)}
        assert signs == {False} or found.side == "never"
        assert signs == {True} or found.side == "always" or one == other or 0 in (fixed, each)


def test_an_error_bar_pairs_the_best_of_one_with_the_worst_of_the_other() -> None:
    # A $1600 device of 450 W at 20 cents against an API at $0.2 a million: 876,712,329 a day over
    # 0.2 less 12.5, 25 or 50 thousandths.
    one = owned_row(placed(), owned(1600, watts=450, cents=20), amount(MILLION))
    other = api_row(api("0.2", "0.2"), amount(MILLION))
    found = break_even(one, other).found
    assert found is not None
    assert [round(each.tokens) for each in found] == [4_675_799, 5_009_785, 5_844_749]


def test_of_two_error_bars_the_best_end_of_one_meets_the_worst_of_the_other() -> None:
    # A million tokens rent for 12.5, 25 or 50 cents at $0.90 an hour; power is a tenth of that.
    one = owned_row(placed(), owned(1600, watts=450, cents=20), amount(3_600_000))
    other = rented_row(placed(), quote("0.9"), amount(3_600_000))
    found, months = break_even(one, other).found, payback(one, other)
    assert found is not None
    assert months is not None
    assert [round(each.tokens) for each in found] == [1_798_384, 3_896_499, 11_689_498]
    assert [round(float(each or 0), 2) for each in months] == [29.97, 64.94, 194.82]


def test_a_price_comes_back_by_what_is_saved_a_month() -> None:
    # An hour a day: 9 cents of power against 3.6 million tokens at $0.525: $1.89, so $1.80 a day.
    one = owned_row(placed(), owned(1600, watts=450, cents=20), amount(3_600_000))
    other = api_row(api("0.525", "0.525"), amount(3_600_000))
    found = payback(one, other)
    assert found is not None
    assert found[1] == Fraction(1600) / (Fraction(18, 10) * Fraction(730, 24))
    assert round(float(found[1]), 2) == 29.22


def test_what_costs_more_to_run_never_comes_back() -> None:
    # At $0.02 a million the API's hour costs 7.2 cents; the power 4.5, 9 or 18 cents.
    one = owned_row(placed(), owned(1600, watts=450, cents=20), amount(3_600_000))
    other = api_row(api("0.02", "0.02"), amount(3_600_000))
    found, months = break_even(one, other).found, payback(one, other)
    assert found is not None
    assert [each.side for each in found] == ["from", "never", "never"]
    assert months == (1600 / (Fraction(27, 1000) * Fraction(730, 24)), None, None)


def test_of_an_unknown_price_nothing_is_said() -> None:
    one = owned_row(placed(), owned(None, watts=450, cents=20), amount(MILLION))
    found = break_even_dict(break_even(one, api_row(api("1", "1"), amount(MILLION))))
    assert (found["tokens"], found["months"], found["lacks"]) == (None, None, ["price"])


def test_of_an_unknown_power_nothing_is_said_either() -> None:
    one = owned_row(placed(), owned(1600), amount(MILLION))
    found = break_even_dict(break_even(one, api_row(api("1", "1"), amount(MILLION))))
    assert (found["tokens"], found["months"]) == (None, None)


def test_a_break_even_beyond_what_is_made_is_told_as_such() -> None:
    one = owned_row(placed(), owned(1600, watts=450, cents=20), amount(MILLION))
    near, far = (api_row(api(price, price), amount(MILLION)) for price in ("0.2", "0.03"))
    assert break_even(one, near).reach
    assert not break_even(one, far).reach


def test_a_kept_machine_is_a_line_without_a_slope() -> None:
    # $0.28 for 8 h are $2.24, at $0.28 a million 8 million tokens.
    rent = rented_row(placed(), quote("0.28"), amount(MILLION))
    found = break_even(rent, api_row(api("0.28", "0.28"), amount(MILLION)), kept=True)
    assert found.kept == "one"
    assert found.found is not None
    assert round(found.found[1].tokens) == 8 * MILLION


def test_each_owned_device_is_held_against_the_cheapest_of_each_other_kind() -> None:
    asked = amount(MILLION)
    mine = owned_row(placed(), owned(1600, watts=450, cents=20), asked)
    rents = [rented_row(placed(), quote(price), asked) for price in ("0.5", "0.28")]
    served = [api_row(api(price, price), asked) for price in ("0.9", "0.2")]
    closed = api_row(api("0.01", "0.01", model=""), asked)
    found = compared([*served, closed, *rents, mine])
    assert [row.kind for row in found.rows] == [
        "owned", "rented", "rented", "api", "api", "yardstick"
    ]  # fmt: skip
    pairs = [(one.one.kind, one.other.kind, one.kept) for one in found.break_evens]
    assert pairs == [
        ("owned", "rented", None),
        ("owned", "rented", "other"),
        ("owned", "api", None),
        ("rented", "api", None),
        ("rented", "api", "one"),
    ]
    others = {one.other.line.per_million.mid for one in found.break_evens if one.kept is None}
    assert others == {rents[1].line.per_million.mid, served[1].line.per_million.mid}


def test_who_makes_the_amount_comes_before_who_is_cheaper_and_does_not() -> None:
    slow = rented_row(placed(), quote("0.01"), amount(40 * MILLION))
    quick = placed(answer_ms=Band(p10=1.0, p50=2.0, p90=3.0))
    fast = rented_row(quick, quote("9"), amount(40 * MILLION))
    assert [row.makes for row in compared([slow, fast]).rows] == ["yes", "no"]
