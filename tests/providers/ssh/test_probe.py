"""The probe's own script on a real sshd, with stand-ins for what makers' tools print."""

import shlex

import pytest

from providers.ssh.bring.engines import engines_for
from providers.ssh.framing import Answer
from providers.ssh.probe import probe
from tests.providers.ssh.conftest import Reaches
from tests.providers.ssh.test_reading import HEAD, NEW, TWO, USERS
from tests.support.sshd import Sshd


def says(**answers: str) -> str:
    """A tool that answers by a word of its arguments."""
    cases = "".join(
        f"*{key.replace('_', '-')}*) printf '%s' {shlex.quote(text)} ;;\n"
        for key, text in answers.items()
    )
    return f'case "$*" in\n{cases}esac\n'


OLD = (
    HEAD
    + "\n0, GPU-cc, 00000000:03:00.0, Tesla P40, 22919, 0, 22919, 0, 9.88, 250.00, 30, 470.256.02\n"
)
REFUSES = """case "$*" in *compute_cap*)
echo 'Field "compute_cap" is not a valid field to query.'; exit 2 ;; esac
"""


async def test_a_host_tells_what_it_is_and_nothing_is_left_there(
    sshd: Sshd, reaches: Reaches
) -> None:
    reach = reaches.to(sshd.account("facts"))
    facts = await probe(reach, everything=True)
    live = await probe(reach, everything=False)
    assert facts.system.startswith("Linux")
    assert facts.threads is not None
    assert facts.ram_bytes is not None
    assert facts.python.startswith("/")
    assert live.boot_id == facts.boot_id != ""
    assert live.ram_free_bytes is not None
    assert [*sshd.home("facts").iterdir()] == []


async def test_cards_engines_and_environments_are_found_over_ssh(
    sshd: Sshd, reaches: Reaches
) -> None:
    host = sshd.account("cards", "/bin/bash", files={".bashrc": "echo motd\n"})
    sshd.tool("cards", "nvidia-smi", says(query_gpu=TWO, query_compute=USERS, _L="GPU 0"))
    sshd.tool("cards", "ollama", "")
    place = (
        sshd.home("cards")
        / "miniconda3/envs/my env/lib/python3.12/site-packages/vllm-0.11.dist-info"
    )
    place.mkdir(parents=True)
    facts = await probe(reaches.to(host), everything=True)
    assert [card.select for card in facts.cards] == ["GPU-1f2e", "GPU-9a8b"]
    assert facts.cards[0].processes[0].name == "ollama"
    assert {(one.engine, one.version) for one in facts.engines} == {
        ("ollama", ""),
        ("vllm", "0.11"),
    }


async def test_a_field_the_driver_refuses_is_asked_for_no_more(
    sshd: Sshd, reaches: Reaches
) -> None:
    host = sshd.account("old")
    sshd.tool("old", "nvidia-smi", REFUSES + says(query_gpu=OLD))
    (card,) = (await probe(reaches.to(host), everything=False)).cards
    assert (card.name, card.compute_capability) == ("Tesla P40", "")


async def test_a_tool_that_hangs_is_ended_and_the_rest_stands(sshd: Sshd, reaches: Reaches) -> None:
    host = sshd.account("hangs")
    sshd.tool("hangs", "nvidia-smi", "trap '' TERM; while :; do sleep 1; done")
    facts = await probe(reaches.to(host), everything=False)
    assert facts.states["nvidia"][0] == "unresponsive"
    assert facts.ram_bytes is not None


@pytest.mark.parametrize("sh", ["/bin/busybox", "/usr/bin/zsh", "/bin/bash"])
async def test_the_probe_is_the_same_under_every_sh(sshd: Sshd, reaches: Reaches, sh: str) -> None:
    name = "probe-" + sh.rpartition("/")[2]
    host = sshd.account(name, sh=sh)
    sshd.tool(name, "nvidia-smi", says(query_gpu=NEW + TWO.splitlines()[1] + "\n"))
    facts = await probe(reaches.to(host), everything=True)
    assert (len(facts.cards), facts.arch != "", facts.cores is not None) == (1, True, True)
    assert facts.disk_free_bytes is not None


async def test_the_server_of_llama_cpps_own_image_is_found_where_the_image_has_it(
    sshd: Sshd, reaches: Reaches, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = sshd.account("image")
    app = sshd.home("image") / "app"  # /app is nobody's to make here
    app.mkdir()
    (app / "llama-server").write_text("#!/bin/sh\n")
    (app / "llama-server").chmod(0o755)
    reach = reaches.to(host)
    run = reach.run

    async def moved(script: str, limit_s: float, *, partial: bool = False) -> Answer:
        assert script.count(" /app;") == 1
        return await run(script.replace(" /app;", f" {app};"), limit_s, partial=partial)

    monkeypatch.setattr(reach, "run", moved)
    facts = await probe(reach, everything=True)
    found = [one for one in facts.engines if one.engine == "llama.cpp"]
    assert [one.where for one in found] == [str(app / "llama-server")]
    assert "llama.cpp" in engines_for(facts, processor=False)
