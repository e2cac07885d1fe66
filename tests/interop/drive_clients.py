"""Asks a real fleet by the real clients: two peers, models at the first, asked at the second.

First every way to ask, then every way in which an answer breaks off, then clients that leave.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.interop.client_calls import Clients, langchain
from tests.interop.stage import Peer, Report, fleet, folder, until, write_model

CONTEXT = 8192
SLOTS = 6  # so that all clients are answered at once
BEGUN = 5  # pieces of an answer before it is disturbed
RAISED_S = 60.0  # how late a client may hear that its answer broke off
FREE_S = 1.0  # how late a slot is free after its client left
# A model's server that is stopped says nothing: a peer is given up after 40 s without a word.
SILENT_S = 60.0
LONG_PROMPT = 6000  # characters, a token each: far more than one batch
TINY, SLOW, SCRIPTED, VECTORS = "tiny.gguf", "slow.gguf", "scripted.gguf", "vectors.gguf"


def main() -> int:
    """The exit code."""
    report = Report()
    with folder() as place:
        models = _models(place)
        one, two = Peer(place, "one"), Peer(place, "two")
        with fleet(one, two):
            for name in (TINY, SCRIPTED):
                one.keep(models[name], batch=2, context=2048)
            one.keep(models[SLOW], batch=SLOTS, context=CONTEXT)
            one.keep(models[VECTORS], context=512)
            ready(two, 4)
            asks(report, two)
            leaves(report, one, two)
            falls_silent(report, one, two)
            breaks(report, one, two, models[SLOW])
    print(f"{report.failed} failed")
    return int(report.failed > 0)


def _models(place: Path) -> dict[str, Path]:
    return {
        TINY: write_model(place / TINY, context=CONTEXT),
        SLOW: write_model(place / SLOW, layers=8, hidden=512, ffn=1536, context=CONTEXT),
        SCRIPTED: write_model(place / SCRIPTED, "scripted"),
        VECTORS: write_model(place / VECTORS, pooling="PoolingType.MEAN"),
    }


def ready(peer: Peer, count: int, model: str = "") -> None:
    """Until a peer sees so many servers that can answer."""

    def look() -> bool:
        rows = [row for row in peer.replicas() if not model or row["model"] == model]
        return sum(bool(row.get("ready")) for row in rows) == count

    until(look, f"{count} servers of {model or 'all models'}")


def asks(report: Report, peer: Peer) -> None:
    """Everything once."""
    clients = Clients(peer.address, TINY, tools=SCRIPTED, vectors=VECTORS)
    for name, call in [*clients.all(), *langchain(peer.address, TINY)]:
        report.run(name, call)


# Clients that leave


def leaves(report: Report, one: Peer, two: Peer) -> None:
    """A client goes away: in the prompt and in the answer, with a stream and without."""
    for stream in (True, False):
        for prompt, after_s in ((LONG_PROMPT, 2.0), (8, 4.0)):
            when = "the prompt" if prompt == LONG_PROMPT else "the answer"
            what = f"leaves in {when}, {'stream' if stream else 'plain'}"
            left = _ask_and_leave(one, two, prompt, stream=stream, after_s=after_s)
            if left is None:
                report.say(what, ok=False, note="it was not being answered")
                continue
            gateway_s, engine_s = left
            note = f"the engine itself after {engine_s:.2f} s"
            report.say(what, ok=gateway_s <= FREE_S, note=note, took_s=gateway_s)


def _ask_and_leave(
    one: Peer, two: Peer, prompt: int, *, stream: bool, after_s: float
) -> tuple[float, float] | None:
    """How long its slot and its engine were taken after it left; None where they never were."""
    engine = one.engine(SLOW)
    host, port = two.address.removeprefix("http://").split(":")
    asking = http.client.HTTPConnection(host, int(port))
    text = f"{time.monotonic_ns()} "
    text += "abcdefg " * (prompt // 8)
    body = {
        "model": SLOW,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 1500,
        "ignore_eos": True,
        "stream": stream,
    }
    headers = {"Content-Type": "application/json"}
    asking.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    time.sleep(after_s)
    was_busy = busy(one, SLOW)
    asking.close()
    begun = time.monotonic()
    until(lambda: busy(one, SLOW) == 0, "a free slot")
    gateway_s = time.monotonic() - begun
    until(lambda: engine.busy() == 0, "an idle engine")
    return (gateway_s, time.monotonic() - begun) if was_busy else None


def busy(peer: Peer, model: str) -> int:
    """How many requests a model's servers answer, as their owner says."""
    return sum(row.get("busy", 0) for row in peer.replicas() if row["model"] == model)


# Answers that break off


def falls_silent(report: Report, one: Peer, two: Peer) -> None:
    """A server that is stopped in the middle of an answer."""
    pid = one.engine(SLOW).pid
    with disturbed(report, two, "its server falls silent", SILENT_S, only="openai chat"):
        os.kill(pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGCONT)
    until(lambda: busy(one, SLOW) == 0, "a free slot")


def breaks(report: Report, one: Peer, two: Peer, model: Path) -> None:
    """The server killed, then the daemon; the next request is answered by the other peer."""
    got = _killed(report, one, two, model, "its server is killed", lambda: _kill_engine(one))
    ready(one, 2, SLOW)
    _usage(report, one, got)
    one.up()
    _killed(report, one, two, model, "its peer's daemon is killed", one.kill)
    one.up()


def _killed(
    report: Report, one: Peer, two: Peer, model: Path, what: str, kill: Callable[[], None]
) -> int:
    """The pieces that clients got before a kill."""
    for row in two.api("/v1/services")["services"]:
        if row["model"] == SLOW and row["service_id"].split("-")[1] == _short(two):
            two.api(f"/v1/services/{row['service_id']}/end", {})
    until(lambda: _ready_at(two) == [_short(one)], "the first peer's server alone")
    until(lambda: _answers(two), "an answer of the first peer's server")
    with disturbed(report, two, what, RAISED_S) as got:
        two.keep(model, batch=2, context=CONTEXT)
        ready(two, 2, SLOW)
        kill()
    clients = Clients(two.address, SLOW)
    begun = time.monotonic()
    report.run(f"{what}: the next request", clients._chat)
    report.say("  it is answered in time", ok=time.monotonic() - begun < 30)
    return sum(got.values())


def _answers(peer: Peer) -> bool:
    """Whether a request is answered: a list of servers may be older than a kill."""
    try:
        Clients(peer.address, SLOW)._chat()
    except Exception:  # it is asked again
        return False
    return True


def _ready_at(peer: Peer) -> list[str]:
    rows = [row for row in peer.replicas() if row["model"] == SLOW and row.get("ready")]
    return [str(row["device_id"]).split("-")[1] for row in rows]


def _short(peer: Peer) -> str:
    rows = peer.api("/v1/devices")["devices"]
    return next(str(row["device_id"]).split("-")[1] for row in rows if row["name"] == peer.name)


def _kill_engine(one: Peer) -> None:
    os.kill(one.engine(SLOW).pid, signal.SIGKILL)


@contextlib.contextmanager
def disturbed(
    report: Report, peer: Peer, what: str, limit_s: float, only: str = ""
) -> Iterator[dict[str, int]]:
    """Every client reads a long answer; in the block it is disturbed; then all must raise."""
    streams = Clients(peer.address, SLOW, timeout_s=600.0).streams("tell me a long story")
    streams = {name: one for name, one in streams.items() if only in ("", name)}
    got, raised = dict.fromkeys(streams, 0), dict[str, str]()

    def read(name: str) -> None:
        try:
            for _ in streams[name]():
                got[name] += 1
        except Exception as error:  # whatever a client raises is what we want to see
            raised[name] = f"{type(error).__name__}: {error}"
        else:
            raised[name] = ""

    threads = [threading.Thread(target=read, args=(name,), daemon=True) for name in streams]
    for thread in threads:
        thread.start()
    until(lambda: min(got.values()) >= BEGUN or raised, f"answers, before {what}")
    yield got
    begun = time.monotonic()
    for name, thread in zip(streams, threads, strict=True):
        thread.join(max(0.1, begun + limit_s - time.monotonic()))
        ok = bool(raised.get(name)) and got[name] >= BEGUN
        note = raised.get(name, "it still waits") or "it saw a whole answer"
        took_s = time.monotonic() - begun
        report.say(f"{what}: {name}", ok=ok, note=note[:110], took_s=took_s)


def _usage(report: Report, one: Peer, got: int) -> None:
    """What was answered until the kill is in the ledger after an orderly stop."""
    one.run("down")
    rows = [row for row in usage(one) if row["model"] == SLOW and row.get("cut")]
    tokens, cut = (sum(row.get(name, 0) for row in rows) for name in ("generated_tokens", "cut"))
    note = f"{tokens} tokens of {cut} answers that were cut; clients had {got} pieces"
    report.say(
        "usage_summarised has the tokens so far", ok=tokens >= got // 2 and cut > 0, note=note
    )


def usage(peer: Peer) -> list[dict[str, Any]]:
    """The rows of usage in a peer's ledger."""
    said = json.loads(peer.run("events", "-o", "json"))
    events = said["events"] if isinstance(said, dict) else said
    found = [one for one in events if one["event_type"] == "usage_summarised"]
    return [row for one in found for row in one["payload"]["rows"]]


if __name__ == "__main__":
    sys.exit(main())
