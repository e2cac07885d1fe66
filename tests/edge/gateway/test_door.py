"""Who may ask at the address, what, how much, and in which words it is refused."""

import json
from collections.abc import Callable

import pytest
from aiohttp.test_utils import make_mocked_request

from mathcore.units import NUSD
from mesh.api.errors import RequestError
from mesh.edge.gateway import front, routes, slots
from mesh.edge.gateway.routes import secret_of
from mesh.edge.serving.keys import hash_of
from tests.edge.gateway.stage import MODEL, Stage, chat
from tests.edge.gateway.stand_in import WHOLE, refuses, says
from tests.state.job_story import event

SECRET = "fl-" + "5" * 64


def key(at: int = 50, **given: object):
    fields = {"key_id": "k1", "name": "bo", "hash": hash_of(SECRET)}
    return event("key_added", at, **{**fields, **given})


def message(raw: bytes) -> str:
    return json.loads(raw)["error"]["message"]


async def test_no_key_is_needed_and_one_of_nobody_is_none(stage: Stage) -> None:
    await stage.serves(says(*WHOLE))
    for secret in ("", "ollama", "fl-unknown", SECRET):
        assert (await stage.chat(secret=secret))[0] == 200
    assert {one.key_id for one in stage.book.served_ones} == {""}


async def test_what_a_key_asks_is_booked_on_it(stage: Stage) -> None:
    await stage.serves(says(*WHOLE))
    stage.tell(key())
    await stage.chat(secret=SECRET)
    await stage.post("/v1/messages", chat(max_tokens=9), {"x-api-key": SECRET})
    assert [one.key_id for one in stage.book.served_ones] == ["k1", "k1"]


async def test_a_revoked_key_opens_nothing(stage: Stage) -> None:
    server = await stage.serves(says(*WHOLE))
    stage.tell(key(), event("key_revoked", 60, key_id="k1"))
    status, headers, raw = await stage.chat(secret=SECRET)
    assert (status, headers["x-should-retry"], "bo" in message(raw)) == (401, "false", True)
    bearer = {"Authorization": f"Bearer {SECRET}"}
    status, _, _ = await stage.post("/api/generate", {"model": MODEL}, bearer)
    assert (status, server.asked) == (401, [])


async def test_a_key_that_may_ask_one_model_asks_no_other_and_this_one_by_any_of_its_names(
    stage: Stage,
) -> None:
    await stage.serves(says(*WHOLE))
    stage.tell(key(models=[MODEL]))
    assert (await stage.chat(secret=SECRET, model="hub/Tiny.gguf"))[0] == 200
    stage.tell(key(70, models=["other"]))
    status, headers, raw = await stage.chat(secret=SECRET)
    assert (status, headers["x-should-retry"]) == (403, "false")
    assert "may not ask" in message(raw)


async def test_a_key_that_may_ask_one_model_may_ask_it_while_it_is_not_loaded(
    stage: Stage,
) -> None:
    fields = {"min_replicas": 0, "max_replicas": 1, "idle_ms": 0}
    stage.tell(
        key(models=[MODEL]), event("service_set", 60, service_id="s1", model=MODEL, **fields)
    )
    status, _, raw = await stage.chat(secret=SECRET, model="Tiny.gguf")
    assert (status, "nobody serves" in message(raw)) == (404, True)


async def test_a_budget_that_is_used_up_is_said_in_words_and_not_retried(stage: Stage) -> None:
    await stage.serves(says(*WHOLE))
    rate = {"purchase_cost_nusd": 1000 * NUSD, "lifetime_hours": 1}
    stage.tell(event("device_registered", -50, device="d", **rate))
    stage.tell(key(budget_nusd=1, budget_per="day"))
    used = {"key_id": "k1", "model": MODEL, "device_id": "d", "job_id": "j1", "requests": 1}
    rows = [{**used, "cost_nusd": 5}]
    begun = {"begun_ms": stage.at_ms, "span_ms": 60_000}
    stage.tell(event("usage_summarised", 60, rows=rows, **begun))
    status, headers, raw = await stage.chat(secret=SECRET)
    assert (status, headers["x-should-retry"]) == (429, "false")
    assert "of $" in message(raw)
    assert "Retry-After" not in headers


async def test_a_key_that_asks_too_often_is_told_when_to_come_again(stage: Stage) -> None:
    await stage.serves(says(*WHOLE))
    stage.tell(key(rate_per_min=1))
    assert (await stage.chat(secret=SECRET))[0] == 200
    status, headers, raw = await stage.chat(secret=SECRET)
    assert (status, headers["Retry-After"]) == (429, "60")
    assert "x-should-retry" not in headers
    assert "1 times a minute" in message(raw)


async def test_requests_that_were_refused_use_up_no_budget(stage: Stage) -> None:
    await stage.serves(refuses(400, {"error": "no"}))
    stage.tell(key(budget_nusd=10**15, budget_per="total"))
    for _ in range(3):
        assert (await stage.chat(secret=SECRET))[0] == 400
    assert stage.admission._limits.held_nusd("k1", now_ms=stage.at_ms) == 0


class Purse:
    """A test double: lets requests in, or says why not; notes what they cost."""

    def __init__(self, no: RequestError | None = None) -> None:
        self.no, self.worst, self.cost = no, list[int](), list[int]()

    async def take(self, key_id: str, worst_nusd: int, *, rented: bool) -> Callable[[int], None]:
        assert (key_id, rented) == ("k1", False)
        self.worst.append(worst_nusd)
        if self.no is not None:
            raise self.no
        return self.cost.append


async def test_what_a_request_may_cost_is_held_in_its_keys_budgets_and_settled_at_its_cost(
    stage: Stage,
) -> None:
    await stage.serves(says(*WHOLE))
    rate = {"purchase_cost_nusd": 1000 * NUSD, "lifetime_hours": 1}
    stage.tell(event("device_registered", -50, device="d", **rate), key())
    purse = Purse()
    vars(stage.admission)["_budgets"] = purse
    assert (await stage.chat(secret=SECRET))[0] == 200
    assert len(purse.worst) == len(purse.cost) == 1
    assert (await stage.chat())[0] == 200
    assert len(purse.worst) == 1, "who shows no key has no budget of one"


async def test_a_request_that_its_keys_budgets_have_no_money_for_is_not_passed_on(
    stage: Stage,
) -> None:
    stand_in = await stage.serves(says(*WHOLE))
    stage.tell(key(budget_nusd=10**15, budget_per="total"))
    no = RequestError("OverBudget", "$0.02 are missing", "fleet budget show", 429)
    vars(stage.admission)["_budgets"] = Purse(no)
    status, headers, raw = await stage.chat(secret=SECRET)
    assert (status, headers["x-should-retry"]) == (429, "false")
    assert "$0.02 are missing" in message(raw)
    assert stand_in.asked == []
    assert stage.admission._limits.held_nusd("k1", now_ms=stage.at_ms) == 0


# What is sent


async def test_a_body_over_the_limit_is_413(stage: Stage) -> None:
    body = b'{"model":"' + b"x" * routes.MAX_BODY_BYTES + b'"}'
    status, headers, raw = await stage.post("/v1/chat/completions", body)
    assert (status, headers["x-should-retry"], "32 MiB" in message(raw)) == (413, "false", True)
    _, _, raw = await stage.post("/v1/messages", body)
    assert json.loads(raw)["type"] == "error"
    _, _, raw = await stage.post("/api/chat", body)
    assert "32 MiB" in json.loads(raw)["error"]


async def test_a_picture_of_some_megabytes_passes(stage: Stage) -> None:
    server = await stage.serves(says(*WHOLE))
    status, _, _ = await stage.chat(messages=[{"role": "user", "content": "x" * (3 << 20)}])
    assert (status, len(server.asked[0]["messages"][0]["content"])) == (200, 3 << 20)


@pytest.mark.parametrize(
    "body", [b"", b"no", b"[]", b"1", b"\xff", b'{"model":1}', b"{}", b"[" * 20000, b'{"a":NaN}']
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/api/chat"])
async def test_a_body_that_is_none_is_400_in_the_familys_words(
    stage: Stage, body: bytes, path: str
) -> None:
    status, headers, raw = await stage.post(path, body)
    assert (status, headers["x-should-retry"], "error" in json.loads(raw)) == (400, "false", True)


async def test_an_unknown_model_is_404_with_the_names_there_are(stage: Stage) -> None:
    await stage.serves(says(*WHOLE))
    status, headers, raw = await stage.chat(model="other")
    assert (status, headers["x-should-retry"], MODEL in message(raw)) == (404, "false", True)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "evil.example"}, "BadHost"),
        ({"Host": "127.0.0.1:99999"}, "BadHost"),
        ({"Origin": "https://evil.example"}, "BadOrigin"),
        ({"Origin": "null"}, "BadOrigin"),
    ],
)
async def test_pages_of_other_sites_reach_nothing(
    stage: Stage, headers: dict[str, str], code: str
) -> None:
    server = await stage.serves(says(*WHOLE))
    for path in ("/v1/chat/completions", "/nowhere"):
        status, _, raw = await stage.post(path, chat(), headers)
        assert (status, json.loads(raw)["error"]["code"]) == (403, code)
    status, _, raw = await stage.post("/api/chat", chat(), headers)
    assert (status, isinstance(json.loads(raw)["error"], str)) == (403, True)
    assert server.asked == []


async def test_a_full_queue_is_503_with_a_time(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "MAX_WAITING", 0)
    await stage.serves(says(*WHOLE))
    status, headers, _ = await stage.chat()
    assert (status, headers["Retry-After"], "x-should-retry" in headers) == (503, "1", False)


async def test_more_requests_at_once_than_there_may_be_are_503_with_a_time(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "MAX_AT_ONCE", 0)
    await stage.serves(says(*WHOLE))
    status, headers, _ = await stage.chat()
    assert (status, int(headers["Retry-After"]) > 0) == (503, True)


async def test_an_error_of_ours_is_500_and_says_nothing_of_us(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stage.admission, "begin", None)
    status, _, raw = await stage.chat()
    assert (status, "daemon.log" in message(raw), "NoneType" in message(raw)) == (500, True, False)
    assert "NoneType" in capsys.readouterr().err


async def test_models_are_listed_whatever_time_their_homes_believe_it_is(stage: Stage) -> None:
    far = {"kind": "server", "model": "far"}
    for at in (-1_800_000_000_000, 7_000_000_000_000):
        name = f"j{at}"
        stage.tell(
            event("job_submitted", at, job_id=name, **far),
            event("job_dispatched", at + 1, device="d", job_id=name, attempt=1),
            event("job_started", at + 2, device="d", job_id=name, attempt=1, pid=9),
        )
    async with stage.client.get(stage.url + "/api/tags") as said:
        assert (said.status, len((await said.json())["models"])) == (200, 1)


def test_a_secret_is_found_in_both_headers() -> None:
    def sent(**headers: str) -> str:
        return secret_of(make_mocked_request("GET", "/", headers=headers).headers)

    assert sent(Authorization="Bearer  a ") == "a"
    assert sent(Authorization="bearer a", **{"x-api-key": "b"}) == "a"
    assert sent(Authorization="Basic a", **{"x-api-key": "b"}) == "b"
    assert sent() == ""
    assert front.LOOPBACK == "127.0.0.1"
