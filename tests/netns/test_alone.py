"""A machine with no network but its own loopback, and no account anywhere, serves and chats."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.netns.lab import Host, Lab, NoNamespaces, sh
from tests.support.tiny_gguf import write_tiny_gguf
from tests.support.waiting import wait_until

# Asked from inside: the address is on that namespace's loopback and on no other.
CHAT = """
import json, sys, urllib.request
def ask(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(sys.argv[1] + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=90) as said:
        return json.load(said)
models = ask("/v1/models")
chat = ask("/v1/chat/completions", {
    "model": "tiny", "max_tokens": 8, "ignore_eos": True,
    "messages": [{"role": "user", "content": "hello"}]})
print(json.dumps([models, chat]))
"""


@pytest.fixture
def hermit(tmp_path: Path) -> Iterator[Host]:
    """A host whose only interface is lo; its daemon is not up."""
    lab = Lab(tmp_path, 1)
    (host,) = lab.hosts
    host.env |= {"HOME": str(tmp_path), "FLEET_METERED": "no"}
    try:
        sh("ip", "netns", "add", host.namespace)
        sh("ip", "-n", host.namespace, "link", "set", "lo", "up")
    except (NoNamespaces, FileNotFoundError) as error:
        pytest.skip(f"no network namespaces here: {error}")
    try:
        yield host
    finally:
        host.run("serve", "tiny.gguf", "--end")
        with suppress(AssertionError):
            wait_until(lambda: host.json("ps") == [], "the end of its server")
        host.stop()
        sh("ip", "netns", "del", host.namespace)


@pytest.mark.slow
def test_a_machine_without_a_network_serves_and_chats(hermit: Host, tmp_path: Path) -> None:
    model = write_tiny_gguf(tmp_path / "tiny.gguf")
    assert sh("ip", "-n", hermit.namespace, "route").strip() == ""
    hermit.up()
    hermit.ok("serve", model, "--min", 0)
    address = json.loads((hermit.home / "daemon.json").read_text())["gateway"]
    asked = subprocess.run(
        hermit.inside(sys.executable, "-c", CHAT, address),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    models, chat = json.loads(asked.stdout)
    assert [one["id"] for one in models["data"]] == ["tiny.gguf"]
    assert chat["usage"]["completion_tokens"] == 8
    assert chat["choices"][0]["finish_reason"] == "length"
