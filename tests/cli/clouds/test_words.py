"""Every reason that this program gives of rentals has words; a provider's own stay as they are."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.cli.clouds.words import STEP_WORDS, why_words
from mesh.edge.clouds.checking import MENDS
from mesh.policy.rentals.caps import DAY_CAP, JOB_CAP, PROVIDER_CAP
from mesh.state.rentals.terms import STATUSES, STEPS
from providers.rental.contract import STEPS as THEIRS

ROOT = Path(__file__).parents[3] / "mesh"
FOLDERS = ("policy/rentals", "edge/clouds", "state/rentals")
# Functions that give a reason, and those that are given one at this place.
GIVE = {"unwanted", "overdrawn", "_second", "best_offer", "choose", "work"}
TAKE = {"_wait": 2, "move": 1, "_let_go": 1, "_alarm": 1, "doubtful": 0}
FOUND = {  # without these the search itself is broken
    "not_allowed", "price_not_believed", "too_dear", "life_over", "duplicate_of_job", "idle",
    "restarted", "never_called", "still_listed", "found_by_label", "outbid", "vanished",
    "return_unconfirmed", "reappeared", "admitted", "cancelled", "orphan", "idle_paid", "unreached",
}  # fmt: skip
# Values of those functions that are no reasons for people.
NO_REASONS = {"", "none", "begun", "order", "account"}


def reasons() -> Iterator[str]:
    """All that the source gives as one."""
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            yield from _of(ast.parse(path.read_text()))


def _of(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name in GIVE:
                yield from _texts(
                    one.value for one in ast.walk(node) if isinstance(one, ast.Return)
                )
            if node.name == "unfit":
                yield from _texts(one.elts[0] for one in ast.walk(node) if _is_pair(one))
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in TAKE:
                yield from _texts(node.args[TAKE[name] : TAKE[name] + 1])
            yield from _texts(one.value for one in node.keywords if one.arg == "why")
        elif isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            yield from _texts(
                v for k, v in pairs if isinstance(k, ast.Constant) and k.value == "why"
            )
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            names = node.targets if isinstance(node, ast.Assign) else [node.target]
            told = {
                "WORDS", "CANCELLED", "ORPHAN", "IDLE_PAID", "why", "LOUD", "LIFE_OVER",
                "SETUP_FAILED", "HOST_KEY",
            }  # fmt: skip
            for name in names:
                each = name.elts if isinstance(name, ast.Tuple) else [name]
                if told & {getattr(one, "id", "") for one in each} and node.value is not None:
                    yield from _texts([node.value])


def _is_pair(node: ast.AST) -> bool:
    return isinstance(node, ast.Tuple) and len(node.elts) == 2


def _texts(nodes: Iterator[ast.expr | None] | list[ast.expr]) -> Iterator[str]:
    """Texts that are a value themselves; of a mapping its values."""
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.IfExp):
            yield from _texts([node.body, node.orelse])
        elif isinstance(node, ast.BoolOp):
            yield from _texts(node.values)
        elif isinstance(node, ast.Tuple | ast.Set):
            yield from _texts(node.elts)
        elif isinstance(node, ast.Dict):
            yield from _texts(node.values)
        elif isinstance(node, ast.Call):
            yield from _texts(node.args)


CODES = {
    *reasons(),
    *MENDS,
    *(f"budget_{step}" for step in STEPS),
    *STATUSES,
    *STEPS,
    *("timeout", "reset", "unreached", "5xx", "429", "auth", "retired", "malformed", "quota"),
    *("another_has_it", "odd_reply", JOB_CAP, DAY_CAP, PROVIDER_CAP),
} - NO_REASONS


def test_the_search_finds_what_there_is() -> None:
    assert set(reasons()) >= FOUND
    assert len(CODES) > 60


@pytest.mark.parametrize("code", sorted(CODES))
def test_a_reason_has_words(code: str) -> None:
    for shown in (why_words(code), why_words(f"interrupted:{code}"), why_words(f"offers_{code}")):
        assert " " in shown or shown in ("cancelled", "ready"), f"{code!r} is shown as it is"
        assert "_" not in shown.replace("rent_day", "").replace("rent_month", "")


def test_each_step_on_the_way_has_words() -> None:
    assert set(STEP_WORDS) == set(STEPS) == set(THEIRS)


@pytest.mark.parametrize(
    "code", ["", "invalid_args", "global/quota-exceeded", "a: b", "offers", ":"]
)
def test_a_providers_own_code_stays_as_it_is(code: str) -> None:
    assert why_words(code) == code
