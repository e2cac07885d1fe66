"""What a rented machine runs first, run for real: its sshd, its key and its dead-man, in namespaces
that hold no process, no file and no address of the machine that runs the tests."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from providers.rental.boot import BEGUN_FILE, CONTACT, CONTACT_FILE, SelfEnd, script
from providers.rental.contract import Offer, Order
from providers.runpod.create import args_of, bash_env_of
from tests.netns.lab import NoNamespaces
from tests.netns.machine import (
    GUARD,
    HERE,
    KINDS,
    NOT_THERE,
    SLEEP,
    Machine,
    machine,
    namespace,
    tool,
)
from tests.support.waiting import wait_until

SHELLS = {"dash": ("dash",), "bash": ("bash",), "busybox": ("busybox", "sh")}
END = SelfEnd(
    method="DELETE",
    url="https://cloud.test/v0/$CONTAINER_ID/",
    header="Authorization: Bearer $CONTAINER_API_KEY",
)
OWN = {"CONTAINER_ID": "27182818", "CONTAINER_API_KEY": "key-of-this-machine"}
CURL = (
    "-fsS -m 30 -X DELETE -H Authorization: Bearer key-of-this-machine"
    " https://cloud.test/v0/27182818/"
)
WGET = (
    "-qO- -T 30 --method=DELETE --header=Authorization: Bearer key-of-this-machine"
    " https://cloud.test/v0/27182818/"
)
DAY_MS = 86_400_000
LEASES_S = (8, 16, 32)
LIFE = 3  # leases

Make = Callable[..., Machine]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes machines; passed over, with the reason, where there can be no namespaces."""
    numbers = count()
    with ExitStack() as stack:

        def made(**how: bool) -> Machine:
            try:
                return stack.enter_context(machine(tmp_path / f"m{next(numbers)}", **how))
            except (NoNamespaces, FileNotFoundError) as error:
                pytest.skip(f"no namespaces here: {error}")

        yield made


def order(one: Machine, *, life_ms: int = DAY_MS, lease_ms: int = DAY_MS) -> Order:
    """With a login of ours, and the key by which the machine is to be known."""
    login, host = one.folder / "login", one.folder / "host"
    for path in (login, host):
        if not path.exists():
            one.make_key(path.name)
    offer = Offer(
        provider="vastai", offer_id="1", gpu="RTX 4090", gpu_count=1, memory_bytes=0, hourly_nusd=1
    )
    return Order(
        label="fl-m1-r1-6ab0f5c0",
        offer=offer,
        image="",
        disk_bytes=0,
        life_ms=life_ms,
        lease_ms=lease_ms,
        user_public_key=public(login),
        host_private_key=host.read_text(),
    )


def public(key: Path) -> str:
    """Without its comment."""
    return " ".join(key.with_name(f"{key.name}.pub").read_text().split()[:2])


def boot(one: Machine, what: Order, shell: str, end: SelfEnd | None = END) -> None:
    """Run the script as the provider would: with the machine's own key in its environment."""
    (one.folder / "boot.sh").write_text(script(what, end))
    done = one.run(*SHELLS[shell], f"{HERE}/boot.sh", **OWN)
    assert done.returncode == 0, done.stderr


def ssh(one: Machine, command: str, key: str = "login") -> "subprocess.CompletedProcess[str]":
    """Log in as ours do: with this key alone, and only if the host shows the pinned one."""
    (one.folder / "known").write_text(f"127.0.0.1 {public(one.folder / 'host')}\n")
    return one.run(
        *("ssh", "-F", "none", "-i", f"{HERE}/{key}", "-o", "IdentitiesOnly=yes", "-o"),
        *("BatchMode=yes", "-o", f"UserKnownHostsFile={HERE}/known", "-o"),
        *("StrictHostKeyChecking=yes", "-o", "GlobalKnownHostsFile=none", "-p", "22"),
        *("root@127.0.0.1", command),
    )


def shown_keys(one: Machine) -> set[str]:
    """Every key that the sshd on port 22 offers, of any kind."""
    said = one.run("ssh-keyscan", "-p", "22", "127.0.0.1").stdout
    return {" ".join(line.split()[1:3]) for line in said.splitlines() if not line.startswith("#")}


def test_words_meant_for_a_machine_are_not_run_outside_of_one(tmp_path: Path) -> None:
    for kind in KINDS:
        (tmp_path / kind).write_text(f"{namespace(kind)}\n")
    (tmp_path / "guard").write_text(GUARD)
    words = ["sh", str(tmp_path / "guard"), "touch", str(tmp_path / "touched")]
    done = subprocess.run(words, env=os.environ | {"OUTSIDE": str(tmp_path)}, check=False)
    assert done.returncode == NOT_THERE
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_its_sshd_shows_our_key_alone_and_lets_our_login_alone_in(make: Make, shell: str) -> None:
    one = make()
    theirs = public(one.folder / "provider" / "ssh_host_ed25519_key")
    one.run("mkdir", "-p", "/run/sshd")
    assert one.run("/usr/sbin/sshd", "-p", "22").returncode == 0
    wait_until(lambda: shown_keys(one) == {theirs}, "the provider's own sshd")
    for _ in range(2):  # a machine that is started again runs it again
        boot(one, order(one), shell)
        wait_until(lambda: shown_keys(one) == {public(one.folder / "host")}, "our sshd")
        assert ssh(one, "id -un").stdout == "root\n"
    kept = one.run("cat", "/root/.ssh/authorized_keys").stdout
    assert kept.splitlines() == [public(one.folder / "login")]
    one.make_key("stranger")
    refused = ssh(one, "true", "stranger")
    assert refused.returncode == 255
    assert "Permission denied (publickey)" in refused.stderr, "no password is asked for"
    assert one.run("stat", "-c", "%a", "/etc/ssh/fleet_host_key").stdout == "600\n"


@pytest.mark.parametrize("shell", ["dash", "busybox"])  # half a minute each
def test_contact_keeps_it_and_the_end_of_its_life_ends_it(make: Make, shell: str) -> None:
    one, begun, lease_s = entered_in_time(make, shell)
    while uptime(one) < begun + 3 * lease_s // 2:
        assert ssh(one, CONTACT).returncode == 0
        assert one.called("curl") == []
    wait_until(lambda: kept_up(one) and len(one.called("curl")) >= 3, "its end, asked for again")
    assert uptime(one) >= begun + LIFE * lease_s - 1
    assert set(one.called("curl")) == {CURL}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("said", ["", "nonsense", "12 34"])
def test_a_contact_that_is_half_written_is_none_and_ends_nothing(
    make: Make, shell: str, said: str
) -> None:
    """It writes the file anew, and the dead-man may look in between: 0 would be long ago."""
    one = make()
    boot(one, order(one, lease_ms=60_000), shell)
    one.run("sh", "-c", f"printf '%s' '{said}' > {CONTACT_FILE}")
    begun = uptime(one)
    wait_until(lambda: uptime(one) >= begun + 3, "fifteen looks of the dead-man")
    assert one.called("curl") == []


def test_a_beginning_that_was_half_written_is_written_anew(make: Make) -> None:
    one = make()
    one.run("sh", "-c", f": > {BEGUN_FILE}")
    boot(one, order(one, life_ms=60_000), "dash")
    begun = uptime(one)
    wait_until(lambda: uptime(one) >= begun + 2, "ten looks of the dead-man")
    assert one.called("curl") == []
    assert int(one.run("cat", BEGUN_FILE).stdout) <= begun


def entered_in_time(make: Make, shell: str) -> tuple[Machine, int, int]:
    """A machine that is entered before its lease is over, when it began, and its lease in s. Where
    this machine is busy one boots for longer, and ends itself, as it should."""
    for lease_s in LEASES_S:
        one = make()
        begun = uptime(one)
        boot(one, order(one, life_ms=LIFE * lease_s * 1000, lease_ms=lease_s * 1000), shell)
        wait_until(partial(kept_up, one), "our sshd")
        if uptime(one) < begun + lease_s:
            return one, begun, lease_s
    raise AssertionError(f"no machine was up within {LEASES_S[-1]} s")


def kept_up(one: Machine) -> bool:
    return ssh(one, CONTACT).returncode == 0


def uptime(one: Machine) -> int:
    return int(float(one.run("cat", "/proc/uptime").stdout.split()[0]))


@pytest.mark.parametrize("shell", SHELLS)
def test_without_contact_it_ends_itself_and_says_so_until_it_is_gone(
    make: Make, shell: str
) -> None:
    one = make()
    begun = uptime(one)
    boot(one, order(one, lease_ms=2_000), shell)
    wait_until(lambda: len(one.called("curl")) >= 3, "its end, asked for again")
    assert uptime(one) >= begun + 1
    assert set(one.called("curl")) == {CURL}
    assert one.called("wget") == []


def test_where_curl_fails_it_asks_in_another_way(make: Make) -> None:
    one = make(curl_fails=True)
    boot(one, order(one, lease_ms=1_000), "dash")
    wait_until(lambda: len(one.called("wget")) >= 2, "its end, asked for again")
    assert set(one.called("wget")) == {WGET}


def test_without_a_way_to_end_itself_it_asks_nobody(make: Make) -> None:
    one = make()
    boot(one, order(one, life_ms=1_000, lease_ms=1_000), "dash", None)
    begun = uptime(one)
    wait_until(lambda: uptime(one) >= begun + 3, "three times its life")
    assert one.called("curl") + one.called("wget") == []


# What an image lacks, and its entrypoint.

# As much as the script needs: with these alone on PATH a machine has neither sshd nor curl nor
# Python, as nvidia/cuda's images have not.
FEW = ("base64", "cat", "chmod", "cut", "echo", "grep", "mkdir", "sh", "tee", "true")


NOTHING = "#!/bin/sh\n"
HANGS = tool("apt", 0).replace("exit 0", f"exec {shutil.which('sleep')} 600")


def with_few(one: Machine, what: Order, end: SelfEnd | None, **programs: str) -> list[str]:
    """The words that boot it with FEW alone on PATH, and these programs; a PATH is a link there."""
    few = one.folder / "few"
    few.mkdir()
    for name in FEW:
        (few / name).symlink_to(f"/usr/bin/{name}")
    for name, text in programs.items():
        path = few / name.replace("_", "-")
        if text.startswith("/"):
            path.symlink_to(text)
        else:
            path.write_text(text)
            path.chmod(0o755)
    (one.folder / "boot.sh").write_text(script(what, end))
    return ["env", f"PATH={HERE}/few", "sh", f"{HERE}/boot.sh"]


def test_what_an_image_lacks_is_installed_before_it_is_used(make: Make) -> None:
    one = make()
    programs = {"apt_get": tool("apt", 0), "pkill": NOTHING, "sleep": NOTHING}
    one.run(*with_few(one, order(one), None, **programs))
    assert one.called("apt") == ["update", "install -y openssh-server curl python3"]


def test_a_machine_whose_installer_hangs_ends_itself_all_the_same(make: Make) -> None:
    one = make()
    programs = {"apt_get": HANGS, "sleep": SLEEP, "curl": tool("curl", 0)}
    words = with_few(one, order(one, lease_ms=1_000), END, **programs)
    with one.begun(*words, **OWN) as hanging:
        wait_until(lambda: len(one.called("curl")) >= 2, "its end, asked for again")
        assert (one.called("apt"), hanging.poll()) == (["update"], None)
    assert set(one.called("curl")) == {CURL}


def test_an_installer_that_takes_too_long_is_given_up_and_the_way_in_opened(make: Make) -> None:
    one = make()
    programs = {"timeout": tool("timeout", 124), "sleep": SLEEP, "sshd": "/usr/sbin/sshd"}
    done = one.run(*with_few(one, order(one), None, **programs))
    assert one.called("timeout") == ["90 apt-get update"]
    assert done.returncode == 0, done.stderr
    assert ssh(one, "id -un").stdout == "root\n"


def test_a_providers_sshd_is_ended_where_no_program_for_that_is_there(make: Make) -> None:
    one = make()
    theirs = public(one.folder / "provider" / "ssh_host_ed25519_key")
    one.run("mkdir", "-p", "/run/sshd")
    assert one.run("/usr/sbin/sshd", "-p", "22").returncode == 0
    wait_until(lambda: shown_keys(one) == {theirs}, "the provider's own sshd")
    there = {"sshd": "/usr/sbin/sshd", "curl": NOTHING, "python3": NOTHING, "sleep": SLEEP}
    done = one.run(*with_few(one, order(one), None, **there))
    assert (done.returncode, done.stderr) == (0, "")
    assert shown_keys(one) == {public(one.folder / "host")}


@pytest.mark.parametrize("shell", SHELLS)
def test_an_sshd_whose_port_is_taken_is_a_boot_that_failed(make: Make, shell: str) -> None:
    one = make()
    (one.folder / "boot.sh").write_text(script(order(one), END))
    (one.folder / "other").symlink_to("/usr/sbin/sshd")  # so called it is none that is ended
    one.run("mkdir", "-p", "/run/sshd")
    assert one.run(f"{HERE}/other", "-p", "22").returncode == 0
    wait_until(lambda: shown_keys(one), "who took the port")
    done = one.run(*SHELLS[shell], f"{HERE}/boot.sh", **OWN)
    assert (done.returncode, done.stderr) == (1, "fleet: our sshd does not run on port 22\n")


# llama.cpp's own takes no words but its own; NVIDIA's runs what it is given.
OWN_WORDS = """#!/usr/bin/env bash
set -e
case "$1" in --run | --server) shift ;; *) echo "Unknown command: $1"; exit 1 ;; esac
"""
RUNS_WORDS = '#!/usr/bin/env bash\nexec "$@"\n'


@pytest.mark.parametrize("entrypoint", ["", OWN_WORDS, RUNS_WORDS], ids=["none", "own", "runs"])
def test_a_pod_boots_once_whatever_its_entrypoint_is(make: Make, entrypoint: str) -> None:
    one = make()
    what = order(one)
    first = shlex.split(args_of(what))
    if entrypoint:
        (one.folder / "entry").write_text(entrypoint)
        (one.folder / "entry").chmod(0o755)
        first = [f"{HERE}/entry", *first]
    own = {"BASH_ENV": bash_env_of(what), "RUNPOD_POD_ID": "p1", "RUNPOD_API_KEY": "k"}
    # A container's first process has number 1.
    words = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *first)
    with one.begun(*words, **own) as pod:
        wait_until(lambda: ssh(one, "true").returncode == 0 or pod.poll() is not None, "its sshd")
        assert pod.poll() is None, "a pod lives as long as its first process"
        assert shown_keys(one) == {public(one.folder / "host")}
        later = one.run("bash", "-c", "echo later", BASH_ENV=own["BASH_ENV"])
        assert later.stdout == "later\n", "a shell that is opened there later boots nothing"
        assert ssh(one, "env").stdout.count("BASH_ENV") == 0
