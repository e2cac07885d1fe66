"""Models between two real daemons over TLS, by the real command line."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mesh.conftest import Machine, Maker, make, up_all
from tests.support.waiting import wait_until

SIZE = 50_000_000  # three chunks and a bit


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, Machine]]:
    """Ana has a model; Ben joined her fleet. Neither sees the models of who runs the tests."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "shelf").mkdir()
    (folder / "shelf" / "big.gguf").write_bytes(b"GGUF" + os.urandom(SIZE - 4))
    made = make(folder)
    maker = next(made)
    _alone_with_models(maker, folder)
    ana, ben = up_all(maker, "ana ben")
    ben.join(ana)
    for one, other in ((ana, "ben"), (ben, "ana")):
        wait_until(one.sees(other, "online"), f"{one.name} linked with {other}")
    yield ana, ben
    next(made, None)


def _alone_with_models(maker: Maker, folder: Path) -> None:
    for name in ("ana", "ben"):
        env = {"HOME": "nobody", "OLLAMA_MODELS": "none", "HF_HOME": "none", "LLAMA_CACHE": "none"}
        maker(name).env.update({key: str(folder / value) for key, value in env.items()})
        maker(name).env["XDG_CACHE_HOME"] = str(folder / "none")
    maker("ana").env["FLEET_MODELS"] = str(folder / "shelf")


def state_of(machine: Machine, model_id: str, *states: str) -> Callable[[], Any]:
    def look() -> Any:
        row = machine.get(f"/v1/models/fetches/{model_id}")
        return row if row["state"] in states else None

    return look


def test_a_model_is_found_pulled_shown_and_removed(pair: tuple[Machine, Machine]) -> None:
    ana, ben = pair
    row = json.loads(ben.ok("models", "--where", "big", "-o", "json"))["models"][0]
    assert (row["peer"], row["size_bytes"]) == ("ana", SIZE)
    assert "ana (" in ben.ok("models", "big", "--where")
    said = ben.run("models", "pull", "big", "--from", "ana")
    assert said.code == 0, said.err
    assert f"verified: {row['quick_hash']}" in said.out
    path = ben.home / "models" / row["quick_hash"] / "big.gguf"
    shelf = ana.home.parent / "shelf" / "big.gguf"
    assert path.read_bytes() == shelf.read_bytes()
    assert "here, ana" in ben.ok("models", "--where")
    assert "is here already" in ben.ok("models", "pull", "big")
    assert "nobody is there to answer" in ben.run("models", "rm", "big").err
    assert "47.7 MiB freed" in ben.ok("models", "rm", "big", "-y")
    assert not path.parent.exists()
    assert shelf.exists()


def test_a_model_is_pushed_within_the_other_s_limits(pair: tuple[Machine, Machine]) -> None:
    ana, ben = pair
    said = ana.ok("models", "push", "big", "--to", "ben")
    assert "big is at ben" in said
    assert "is there already" in ana.ok("models", "pull", "big", "--to", "ben")
    wrong = ana.run("models", "push", "big", "--to", "ana")
    assert wrong.code == 3
    assert "ana is this machine" in wrong.err
    ben.ok("models", "rm", "big", "-y")


def test_a_receiver_that_is_killed_goes_on_by_itself(pair: tuple[Machine, Machine]) -> None:
    _, ben = pair
    ben.stop()
    ben.env["FLEET_MODELS_RATE"] = "20MB/s"
    ben.up()
    wait_until(ben.sees("ana", "online"), "ben linked with ana")
    row = ben.post("/v1/models/pull", model="big")

    def half() -> bool:
        return bool(ben.get(f"/v1/models/fetches/{row['id']}")["got_bytes"] > SIZE // 4)

    wait_until(half, "some of it is here")
    ben.stop(signal.SIGKILL)
    ben.up()
    wait_until(lambda: (ben.get("/v1/models/fetches"))["fetches"], "the pull is taken up")
    done = wait_until(state_of(ben, row["id"], "done", "failed"), "the end of it")
    assert done["state"] == "done", done["text"]
    assert done["received_bytes"] <= SIZE - SIZE // 4
    ben.ok("models", "rm", "big", "-y")


def test_a_silent_peer_is_named_and_keeps_nobody_waiting_for_this_machines_own_models(
    pair: tuple[Machine, Machine],
) -> None:
    ana, ben = pair
    os.kill(ben.pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        said = ana.get("/v1/models/where")
        took_s = time.monotonic() - begun
    finally:
        os.kill(ben.pid, signal.SIGCONT)
    assert [row["name"] for row in said["models"]] == ["big"]
    assert said["silent"] == [{"peer": "ben", "text": "ben does not answer"}]
    assert took_s < 4  # one second, on a machine that is not shared


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("pull", "none"), 102, "no model 'none' anywhere"),
        (("pull", "none", "--from", "ana"), 102, "no model 'none' at ana"),
        (("pull", "big", "--from", "zoe"), 102, "zoe"),
        (("pull", "big", "--from", "ana", "--to", "ana"), 2, "say --from or --to"),
        (("pull",), 2, "Missing argument 'MODEL'"),
        (("push", "big"), 2, "Missing option '--to'"),
        (("push", "none", "--to", "ana"), 102, "no model 'none' on this machine"),
        (("rm", "none", "-y"), 102, "no model 'none' on this machine"),
        (("rm", "/etc/passwd", "-y"), 102, "no model '/etc/passwd' on this machine"),
    ],
)
def test_a_wrong_word_is_one_clear_line(
    pair: tuple[Machine, Machine], words: tuple[str, ...], code: int, says: str
) -> None:
    _, ben = pair
    said = ben.run("models", *words)
    assert (said.code, len(said.err.strip().splitlines())) == (code, 1), said.err
    assert says in said.err
    assert said.out == ""


def test_without_a_daemon_this_machine_still_says_what_it_has(
    pair: tuple[Machine, Machine],
) -> None:
    ana, _ = pair
    ana.stop()
    said = ana.ok("models", "--where")
    assert "big" in said
    assert "no daemon is running" in said
    ana.up()
