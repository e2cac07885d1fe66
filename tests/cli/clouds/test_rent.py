"""`fleet rent` and `fleet return`: what is asked, sent and said; each error is one line."""

import json
import time

import pytest

from mesh.cli import options
from mesh.cli.exits import (
    CANCELLED,
    CANNOT,
    INTERRUPTED,
    JOB_FAILED,
    NOT_FOUND,
    NOTHING_FITS,
    OK,
    USAGE,
)
from tests.cli.clouds.conftest import Say
from tests.cli.clouds.fixed_clouds import (
    BOOTS,
    GONE,
    Clouds,
    cloud,
    found,
    no_key,
    offer,
    refusal,
    rental,
    request,
)

RENT = ("rent", "--gpu", "24GB..", "--for", "2h")
BODY = {"gpu": "24GB..", "life": "2h"}


@pytest.fixture
def ready(clouds: Clouds) -> Clouds:
    """A request is met after two looks."""
    clouds.answers["POST /v1/rentals"] = request()
    waits = found(requests=[request(waits_for="choosing")])
    boots = found(rental(state="booting", step="image", devices=[]), requests=[request()])
    clouds.answers["/v1/rentals"] = [waits, boots, found(rental(), requests=[request()])]
    return clouds


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a person was asked; they say yes."""
    asked: list[str] = []
    monkeypatch.setattr(options.click, "confirm", lambda text, **_: asked.append(text))
    return asked


def test_a_person_is_asked_with_the_price_then_told_how_far_it_is(
    ready: Clouds, questions: list[str], say: Say
) -> None:
    said = say(*RENT)
    assert questions == ["RTX 4090 at vastai, $0.34/h, about $0.68 for 2h: rent it?"]
    assert ready.posted == [("/v1/rentals", BODY)]
    assert (said.code, said.err.splitlines()) == (
        OK,
        [
            "request r7k2m9 at vastai (Ctrl-C leaves it running)",
            "  looking for an offer",
            "  RTX 4090, $0.34/h: its image is there, the container starts",
        ],
    )
    assert said.out.splitlines() == [
        "vast-r7k2m9 is up: vast-r7k2m9, vast-r7k2m9-gpu0, $0.34/h",
        "fleet run MODEL --on vast-r7k2m9",
        "fleet return vast-r7k2m9",
    ]


def test_nobody_there_to_answer_is_one_line_and_nothing_is_sent(ready: Clouds, say: Say) -> None:
    said = say(*RENT)
    assert said.code == USAGE
    assert said.err.splitlines()[-1] == (
        "fleet: nobody is there to answer the question. try: the same command with -y"
    )
    assert ready.posted == []


def test_yes_asks_nothing(ready: Clouds, say: Say) -> None:
    assert say(*RENT, "-y").code == OK
    assert "/v1/offers" not in "".join(ready.asked)


def test_detached_it_returns_at_once_with_the_requests_id(ready: Clouds, say: Say) -> None:
    assert say(*RENT, "-y", "-d").out == "r7k2m9\n"
    assert json.loads(say(*RENT, "-y", "-d", "-o", "json").out) == request()
    assert not any(path.startswith("/v1/rentals") for path in ready.asked)


def test_as_json_the_machine_is_one_document(ready: Clouds, say: Say) -> None:
    assert json.loads(say(*RENT, "-y", "-o", "json").out) == rental()


def test_every_option_goes_to_the_daemon_by_its_name(ready: Clouds, say: Say) -> None:
    words = "--count 2 --idle 0 --max-price 0.5 --cap 3 --spot --provider vast --offer 31415926"
    said = say(*RENT, *words.split(), "--disk", "80GB", "--image", "a/b:c", "-y")
    assert said.code == OK, said.err
    assert ready.posted[0][1] == {
        **BODY, "count": "2", "idle": "0", "max_price": "0.5", "cap": "3", "spot": "true",
        "provider": "vastai", "offer": "31415926", "disk": "80GB", "image": "a/b:c",
    }  # fmt: skip


def test_the_price_that_is_asked_about_is_with_the_disk(ready: Clouds, say: Say) -> None:
    assert say(*RENT, "--disk", "2TB").code == USAGE, "nobody is there to answer"
    (asked,) = [path for path in ready.asked if path.startswith("/v1/offers")]
    assert "disk=2TB" in asked


@pytest.mark.parametrize(
    ("offers", "words", "text"),
    [
        ([offer(0.2, spot=True)], ("--spot",), "RTX 4090 (may be taken back) at vastai, $0.20/h"),
        ([offer(2.5, gpu_count=4)], (), "4x RTX 4090 at vastai, $2.50/h, about $5.00 for 2h"),
        ([offer(0.2, offer="1"), offer()], ("--offer", "31415926"), "RTX 4090 at vastai, $0.34/h"),
        ([offer(0.2, hourly_nusd=None)], (), "RTX 4090 at vastai, at an unknown price: rent it?"),
        ([], ("--max-price", "$0.50"), "rent what fits, for $0.50/h at most, once there is?"),
        ([], ("--cap", "3"), "rent what fits, for $3.00 in all at most, once there is?"),
        ([], ("--max-price", "1", "--cap", "3"), "for $1.00/h and $3.00 in all at most"),
        ([offer(source="typical", offer=None)], ("--cap", "3"), "nothing that fits is offered now"),
    ],
)
def test_the_question_says_what_it_will_be(
    ready: Clouds,
    questions: list[str],
    say: Say,
    offers: list[object],
    words: tuple[str, ...],
    text: str,
) -> None:
    ready.answers["/v1/offers"] = {"offers": offers}
    assert say(*RENT, *words).code == OK
    assert text in questions[0]


def test_spot_machines_are_looked_at_only_when_asked_for(
    ready: Clouds, questions: list[str], say: Say
) -> None:
    say(*RENT)
    assert "spot=false" in ready.asked[1]
    say(*RENT, "--spot")
    assert "spot" not in [path for path in ready.asked if path.startswith("/v1/offers")][1]


def test_what_lambda_lacks_is_said_before_anything_is_spent(
    ready: Clouds, questions: list[str], say: Say
) -> None:
    ready.answers["/v1/clouds"] = {"clouds": [cloud("vastai"), cloud("lambdalabs")]}
    ready.answers["/v1/offers"] = {"offers": [offer(0.75, provider="lambdalabs", gpu="A10")]}
    ready.answers["POST /v1/rentals"] = request() | {"provider": "lambdalabs"}
    for words in ((), ("-y",)):
        said = say(*RENT, *words)
        assert "while no peer with its key is up, they cost on" in said.err
        assert "it tells no charges" in said.err


WRONG = [
    (("--for", "two fortnights"), "--for: 'two fortnights' is not a duration. try: say for "),
    (("--for", "5s"), "--for: '5s' is not between 1m and 366d. try: say for example 2h"),
    (("--for", "2y"), "--for: '2y' is not"),
    (("--gpu", ".."), "--gpu: '..' is no size and no name. try: say 24GB.. or \"RTX 4090\""),
    (("--gpu", "48GB..24GB"), "--gpu: '48GB..24GB' begins above its end. try: 24GB..48GB"),
    (("--count", "0"), "--count: '0' is not a whole number from 1 to"),
    (("--disk", "1GB"), "--disk: '1GB' is not between 8GiB and 16TiB. try: say for example 40GiB"),
    (("--disk", "much"), "--disk: "),
    (("--image", "rm -rf /"), "--image: 'rm -rf /' is not an image's name, as docker has. try: "),
    (("--idle", "soon"), "--idle: 'soon' is not a duration"),
    (("--max-price", "cheap"), "--max-price: "),
    (("--cap", "-3"), "--cap: "),
    (("--provider", "aws"), "--provider: that is none; there are vastai, runpod, lambdalabs"),
]


@pytest.mark.parametrize(("words", "text"), WRONG)
def test_a_wrong_option_is_one_line_by_its_own_name(
    clouds: Clouds, say: Say, words: tuple[str, ...], text: str
) -> None:
    for more in ((), ("-y",)):
        said = say(*RENT, *words, *more)
        assert said.code == USAGE, said.err
        assert said.error.startswith(f"fleet: {text}")
        assert ". try: " in said.error
    assert (clouds.posted, clouds.asked) == ([], [])


def test_without_a_time_nothing_is_rented(clouds: Clouds, say: Say) -> None:
    said = say("rent", "--gpu", "24GB..")
    assert (said.code, said.error) == (
        USAGE,
        "fleet: Missing option '--for'. try: fleet rent --help",
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "this peer has no key of any cloud. try: fleet clouds login PROVIDER"),
        (("--provider", "lambda"), "this peer has no key of lambdalabs. try: fleet clouds login "),
    ],
)
def test_without_a_key_that_is_what_is_said(
    clouds: Clouds, say: Say, words: tuple[str, ...], text: str
) -> None:
    clouds.answers["/v1/clouds"] = {"clouds": [no_key("vastai"), no_key("lambdalabs")]}
    said = say(*RENT, *words)
    assert said.code == CANNOT
    assert said.error.startswith(f"fleet: {text}")


def test_where_nothing_fits_a_limit_may_wait_for_it(clouds: Clouds, say: Say) -> None:
    clouds.answers["/v1/offers"] = {"offers": [offer(owned=True)]}
    said = say(*RENT)
    assert (said.code, said.error) == (
        NOTHING_FITS,
        "fleet: nothing that fits is offered now. try: fleet offers, or --max-price",
    )


def test_where_the_account_is_in_trouble_that_is_why(clouds: Clouds, say: Say) -> None:
    bad = {"text": "the provider does not take the key", "hint": "fleet clouds login vastai"}
    clouds.answers["/v1/clouds"] = {"clouds": [cloud("vastai", state="trouble", **bad)]}
    clouds.answers["/v1/offers"] = {"offers": []}
    said = say(*RENT)
    assert (said.code, said.error) == (
        CANNOT,
        "fleet: Vast.ai: the provider does not take the key. try: fleet clouds login vastai",
    )


def test_a_price_that_nobody_knows_wants_a_limit(clouds: Clouds, say: Say) -> None:
    text = "nobody knows a price of such a machine yet, so nobody knows what it may cost"
    clouds.answers["POST /v1/rentals"] = refusal("NoPrice", text, "say --max-price or --cap", 400)
    said = say(*RENT, "-y")
    assert (said.code, said.error) == (USAGE, f"fleet: {text}. try: say --max-price or --cap")


def test_a_price_that_is_not_known_yet_is_never_shown_as_nothing(ready: Clouds, say: Say) -> None:
    none = {"price_nusd": None, "quote_nusd": None}
    boots = found(rental(state="provisioning", step=None, **none), requests=[request()])
    ready.answers["/v1/rentals"] = [boots, found(rental(**none), requests=[request()])]
    said = say(*RENT, "-y")
    assert "  RTX 4090, price unknown: asked for\n" in said.err
    assert "vast-r7k2m9-gpu0, price unknown\n" in said.out
    assert "$0" not in said.out + said.err


def test_ctrl_c_leaves_it_running(ready: Clouds, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    ready.answers["/v1/rentals"] = found(BOOTS | {"request_id": "r7k2m9"}, requests=[request()])

    def pressed(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", pressed)
    said = say(*RENT, "-y")
    assert said.code == INTERRUPTED
    assert "Ctrl-C leaves it running" in said.err
    assert [path for path, _ in ready.posted] == ["/v1/rentals"], "nothing is returned"


@pytest.mark.parametrize(
    ("rows", "code", "text"),
    [
        ([], CANCELLED, "the request was cancelled. try: fleet rentals -a"),
        ([GONE | {"why": "cancelled"}], CANCELLED, "the request was cancelled"),
        ([GONE | {"why": "life_over"}], JOB_FAILED, "no machine came up: its time was over. try: "),
        ([GONE | {"why": "interrupted:outbid"}], JOB_FAILED, "came up: somebody bid more"),
    ],
)
def test_a_request_that_ends_before_it_is_up_says_why(
    ready: Clouds, say: Say, rows: list[dict[str, object]], code: int, text: str
) -> None:
    mine = [row | {"request_id": "r7k2m9"} for row in rows]
    ready.answers["/v1/rentals"] = found(*mine)
    said = say(*RENT, "-y")
    assert said.code == code
    assert text in said.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("rows", "last"), [([GONE | {"why": "budget_image"}], " (the last one: its image"), ([], "")]
)
def test_a_request_whose_cap_is_spent_says_so_and_what_helps(
    ready: Clouds, say: Say, rows: list[dict[str, object]], last: str
) -> None:
    mine = [row | {"request_id": "r7k2m9"} for row in rows]
    ended = [{"request_id": "another", "why": "idle"}, {"request_id": "r7k2m9", "why": "job_cap"}]
    ready.answers["/v1/rentals"] = found(*mine, ended_requests=ended)
    said = say(*RENT, "-y")
    assert said.code == JOB_FAILED
    line = said.err.splitlines()[-1]
    text = "no machine came up, and what is left of its cap (--cap) is too little for a machine"
    assert text + last in line
    assert line.endswith("then fleet rent with a higher --cap")


def test_why_it_waits_is_said_once_and_in_words(ready: Clouds, say: Say) -> None:
    waits = found(requests=[request(waits_for="day_cap")])
    ready.answers["/v1/rentals"] = [waits, waits, waits, found(rental(), requests=[request()])]
    assert say(*RENT, "-y").err.count("the day's cap (setting rent_day)") == 1


def test_a_return_says_where_its_end_is_seen(clouds: Clouds, say: Say) -> None:
    done = {"request_id": "r7k2m9", "rental_id": None}
    clouds.answers["/v1/rentals/vast-r7k2m9/return"] = done
    said = say("return", "vast-r7k2m9")
    assert (said.code, said.out) == (
        OK,
        "it is being returned; fleet rentals shows when it is gone\n",
    )
    assert json.loads(say("return", "vast-r7k2m9", "-o", "json").out) == done


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (refusal("NotFound", "no rental 'x/y'", "fleet rentals", 404), NOT_FOUND),
        (refusal("NotOpen", "r1x1 is absent", "fleet rentals -a"), CANNOT),
    ],
)
def test_what_can_not_be_returned_is_one_line(
    clouds: Clouds, say: Say, error: Exception, code: int
) -> None:
    clouds.answers["/v1/rentals/x%2Fy/return"] = error
    said = say("return", "x/y")
    assert said.code == code
    assert "try: fleet rentals" in said.error
