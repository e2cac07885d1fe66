"""How requests are spread over a real fleet: while a peer is killed, over models that do not fit
together, and in conversations."""

from __future__ import annotations

import http.client
import json
import random
import re
import statistics
import sys
import threading
import time
import urllib.error
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.interop.drive_clients import ready
from tests.interop.small_machine import SmallMachine
from tests.interop.stage import Peer, Report, fetch, fleet, folder, write_model

REQUESTS, AT_ONCE = 200, 8
KILLED_AFTER, AGAIN_AFTER_S = 80, 3.0
ORDER = "ABAACABC"
MOST_LOADS = 3
PATIENCE_S = 60.0  # as mesh/edge/gateway/rooms.py has it, and a load besides
LOAD_S = 30.0
GIVEN_UP_S = 150.0  # without a byte, when a request counts as lost
CONVERSATIONS, WORDS = 20, 2000
SLOTS = 10  # of each replica: together they hold all conversations
MOST_RATIO = 0.5
# What the engine writes of each request: a prompt's tokens when it begins, a total when it ends.
STARTED = re.compile(r"task (\d+) \| new prompt.*task\.n_tokens = (\d+)")
ENDED = re.compile(r"task (\d+) \|\s+total time =")


def main() -> int:
    """The exit code."""
    report = Report()
    with folder() as place:
        crowd(report, place)
        swaps(report, place)
        conversations(report, place)
    print(f"{report.failed} failed")
    return int(report.failed > 0)


# Two hundred requests, and a peer that is killed


def crowd(report: Report, place: Path) -> None:
    """Three models: one at the first peer, one at the second, one at both."""
    names = ("left.gguf", "both.gguf", "right.gguf")
    models = {name: write_model(place / name, seed=seed) for seed, name in enumerate(names)}
    one, two = Peer(place, "first"), Peer(place, "second")
    with fleet(one, two):
        for peer, kept in ((one, names[:2]), (two, names[1:])):
            for name in kept:
                peer.keep(models[name], batch=2, context=1024)
        ready(two, 4)
        engines = [one.engine(name) for name in names[:2]] + [two.engine(n) for n in names[1:]]
        asked, done = threading.Event(), Counter[int]()
        begun = time.monotonic()
        killer = threading.Thread(target=_kill_and_start, args=(one, asked))
        killer.start()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            numbers = range(1, REQUESTS + 1)
            said = list(pool.map(lambda n: _numbered(two, names[n % 3], n, asked), numbers))
        killer.join()
        took_s = time.monotonic() - begun
        base = next(row["tokens"] - row["number"] for row in said if row["tokens"])
        for engine in engines:
            done += _ended(engine.log(), base)
        _judge(report, said, done, took_s)
        ready(two, 4)
        late = [_numbered(two, name, REQUESTS + 1, asked) for name in names]
        report.say("after that every model answers", ok=all(row["tokens"] for row in late))


def _kill_and_start(peer: Peer, asked: threading.Event) -> None:
    asked.wait()
    peer.kill()
    time.sleep(AGAIN_AFTER_S)
    peer.up()


def _numbered(peer: Peer, model: str, number: int, asked: threading.Event) -> dict[str, Any]:
    """One request whose number is told by the length of its prompt."""
    if number == KILLED_AFTER:
        asked.set()
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "x" * number}],
        "max_tokens": 24,
        "ignore_eos": True,
    }
    row: dict[str, Any] = {"number": number, "model": model, "tokens": 0, "why": ""}
    try:
        said = fetch(f"{peer.address}/v1/chat/completions", body)
        row["tokens"] = said["usage"]["prompt_tokens"]
        if said["choices"][0]["finish_reason"] != "length":
            row["why"] = "cut without a word"
    except urllib.error.HTTPError as error:
        found = json.loads(error.read())["error"]
        row["why"] = f"{error.code} {found['code']}: {found['message']}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        row["why"] = f"no answer: {error!r}"
    return row


def _ended(log: str, base: int) -> Counter[int]:
    """How often an engine answered each numbered request to its end."""
    numbers = {task: int(tokens) - base for task, tokens in STARTED.findall(log)}
    return Counter(numbers[task] for task in ENDED.findall(log) if task in numbers)


def _judge(report: Report, said: list[dict[str, Any]], done: Counter[int], took_s: float) -> None:
    answered = [row for row in said if row["tokens"] and not row["why"]]
    refused = [row for row in said if not row["tokens"]]
    lost = [row for row in said if "without a word" in row["why"] or "no answer" in row["why"]]
    twice = [number for number, times in done.items() if times > 1 and number <= REQUESTS]
    never = [row["number"] for row in answered if not done[row["number"]]]
    note = f"{len(answered)} answered, {len(refused)} refused, {len(lost)} lost"
    report.say(f"{REQUESTS} requests, a daemon killed", ok=not lost, note=note, took_s=took_s)
    for why, count in Counter(row["why"][:150] for row in refused).most_common(4):
        print(f"     {count} x {why}", flush=True)
    note = f"answered twice: {twice or 'none'}; answered but in no engine's log: {never or 'none'}"
    report.say("none twice, by the engines' logs", ok=not twice and not never, note=note)


# Models that do not fit together


def swaps(report: Report, place: Path) -> None:
    """Three models on a machine that holds one at a time, asked for by turns."""
    machine = SmallMachine(place)
    if machine.fault:
        report.skip("A B A A C A B C on a machine for one model", machine.fault)
        return
    names = {letter: f"{letter.lower()}.gguf" for letter in "ABC"}
    peer = Peer(place, "small", prefix=machine.prefix)
    sizes = {"layers": 8, "hidden": 512, "ffn": 1536, "context": 8192}
    with machine.measured(peer.home), fleet(peer):
        for seed, name in enumerate(names.values()):
            model = write_model(place / name, seed=seed, **sizes)
            peer.keep(model, least=0, batch=16, context=8192)
        begun = time.monotonic()
        with ThreadPoolExecutor(len(ORDER)) as pool:
            rows = list(pool.map(lambda i: _swapped(peer, names, i), range(len(ORDER))))
        took_s = time.monotonic() - begun
        loads = _loads(peer)
    times = ", ".join(f"{ORDER[i]} {row[1]:.1f}" for i, row in enumerate(rows))
    bad = [row[0] for row in rows if row[0]]
    report.say("A B A A C A B C", ok=not bad, note=f"{times} {bad or ''}"[:200], took_s=took_s)
    report.say("  loads", ok=loads <= MOST_LOADS, note=f"{loads}; at most {machine.most} at once")
    report.say("  one model at a time", ok=machine.most == 1)
    last_c = max(row[1] for i, row in enumerate(rows) if ORDER[i] == "C")
    report.say("  C in time", ok=last_c <= PATIENCE_S + LOAD_S, took_s=last_c)


def _swapped(peer: Peer, names: dict[str, str], place: int) -> tuple[str, float]:
    """What went wrong, and how long it took."""
    time.sleep(0.05 * place)  # so that they come in their order
    begun = time.monotonic()
    body = {
        "model": names[ORDER[place]],
        "messages": [{"role": "user", "content": f"{place} hello"}],
        "max_tokens": 24,
    }
    try:
        fetch(f"{peer.address}/v1/chat/completions", body, timeout_s=GIVEN_UP_S)
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read()[:200]!r}", time.monotonic() - begun
    except OSError as error:
        return f"{ORDER[place]}: {error}", time.monotonic() - begun
    return "", time.monotonic() - begun


def _loads(peer: Peer) -> int:
    """How often a model was loaded."""
    events = json.loads(peer.run("events", "-o", "json"))
    return sum(one["event_type"] == "job_started" for one in events)


# Conversations


def conversations(report: Report, place: Path) -> None:
    """Second turns: at one address, beside taking the two servers by turns."""
    model = write_model(place / "talk.gguf", context=8192)
    one, two = Peer(place, "near"), Peer(place, "far")
    with fleet(one, two):
        for peer in (one, two):
            peer.keep(model, batch=SLOTS, context=4096)
        ready(two, 2)
        servers = [
            (peer.engine("talk.gguf").url, peer.engine("talk.gguf").key) for peer in (one, two)
        ]
        ours = _talk([(two.address, "")], "ours")
        turns = _talk(servers, "turn")
    ours_ms, turns_ms = statistics.median(ours), statistics.median(turns)
    note = f"p50 {ours_ms:.0f} ms beside {turns_ms:.0f} ms by turns; " + (
        f"means {statistics.mean(ours):.0f} and {statistics.mean(turns):.0f}"
    )
    ok = ours_ms <= MOST_RATIO * turns_ms
    report.say(f"{CONVERSATIONS} conversations: first token of second turns", ok=ok, note=note)


def _talk(servers: list[tuple[str, str]], name: str) -> list[float]:
    """Times to the first token of second turns, in ms; the servers are taken by turns."""
    talks = [
        [{"role": "user", "content": _story(f"{name} {number}")}] for number in range(CONVERSATIONS)
    ]
    order = list(range(CONVERSATIONS))
    for count, number in enumerate(order):
        _, said = _first_ms(servers[count % len(servers)], talks[number])
        talks[number] += [
            {"role": "assistant", "content": said},
            {"role": "user", "content": "go on"},
        ]
    random.Random(7).shuffle(order)  # people do not answer in the order in which they began
    return [
        _first_ms(servers[count % len(servers)], talks[number])[0]
        for count, number in enumerate(order)
    ]


def _story(name: str) -> str:
    letters = random.Random(name)
    return name + "".join(letters.choice("abcdfghklmpqsuvwxyz") for _ in range(WORDS))


def _first_ms(server: tuple[str, str], messages: list[dict[str, str]]) -> tuple[float, str]:
    """Until the first piece of an answer, and the answer."""
    url, key = server
    body = {"model": "talk.gguf", "messages": messages, "max_tokens": 4, "stream": True}
    host, port = url.removeprefix("http://").split(":")
    asking = http.client.HTTPConnection(host, int(port), timeout=PATIENCE_S)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key or 'none'}"}
    begun, first_ms, said = time.monotonic(), 0.0, ""
    asking.request("POST", "/v1/chat/completions", json.dumps(body | {"ignore_eos": True}), headers)
    for line in asking.getresponse():
        if line.startswith(b"data: {"):
            first_ms = first_ms or 1000 * (time.monotonic() - begun)
            for choice in json.loads(line[6:])["choices"]:
                said += choice["delta"].get("content") or ""
    asking.close()
    return first_ms, said


if __name__ == "__main__":
    sys.exit(main())
