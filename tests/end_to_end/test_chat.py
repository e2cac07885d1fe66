"""From a machine with nothing but a model file to its first answer, and to tools at their port."""

import json
from pathlib import Path
from urllib.request import urlopen

from tests.end_to_end.conftest import Fleet

# A daemon that a person runs on this machine may have the usual one.
ANY_PORT = {"FLEET_GATEWAY_PORT": "0"}


def test_one_command_answers_on_a_machine_that_has_no_daemon_yet(
    fleet: Fleet, tiny_model: Path
) -> None:
    fleet.env |= ANY_PORT
    done = fleet.run("chat", tiny_model, "-p", "hello", "--tokens", 8)
    assert done.code == 0, done.err
    assert done.out.strip()
    assert done.err.startswith("no daemon was running: started it at http://127.0.0.1:")
    assert "tiny.gguf is loading…" in done.err
    assert " on " in done.err.splitlines()[-1]
    again = fleet.json("chat", "-p", "hello", "--tokens", 8)
    assert again["usage"]["completion_tokens"] <= 8
    assert (again["model"], bool(again["answer"])) == ("tiny.gguf", True)
    assert again["cost_nusd"] > 0
    said = fleet.json("status")["gateway"]["url"]
    assert f"models at {said}/v1" in fleet.ok("ps")


def test_tools_find_the_models_where_another_program_was(fleet: Fleet) -> None:
    fleet.env |= ANY_PORT
    fleet.up()
    taken = int(json.loads((fleet.home / "daemon.json").read_text())["gateway"].rpartition(":")[2])
    done = fleet.run("proxy", "--port", taken)
    assert done.code == 3
    assert f"port {taken} is held by" in done.err
    port = free_port()
    fleet.ok("proxy", "--as", "ollama", "--port", port)
    fleet.kill()
    fleet.up()
    with urlopen(f"http://127.0.0.1:{port}/") as answer:
        assert answer.read() == b"Ollama is running"
    assert fleet.ok("proxy", "--as", "ollama", "--off").strip() == f"port {port} is free"
    assert fleet.json("proxy") == []


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])
