"""Where a provider says that a machine's sshd answers may be anything: our own LAN, an option,
no address. Nothing but an SSH greeting is sent there, and no other key than ours is believed."""

import asyncio
import base64
from pathlib import Path

import pytest

from mesh.config import Config
from mesh.edge.clouds.machines import KeyFiles, RentedMachines
from mesh.edge.clouds.renting.ports import Needs
from mesh.edge.ssh.hosts import SshHosts
from mesh.state.rentals.rental import Rental
from mesh.state.state import State
from providers.rental.contract import SshAt
from tests.state.job_story import event, told
from tests.support.sshd import Sshd

AUTHOR = "a" * 64
RENTAL = "r1x1x1xabcdefgh"


class Rig:
    """A peer that rented one machine."""

    def __init__(self, home: Path) -> None:
        self.own_ms, self.wall_ms, self.state = 0, 0, State()
        self.home = home

        async def nothing(*_: object) -> None:
            return None

        self.ssh = SshHosts(home, Config(name="here"), AUTHOR, State, nothing, lambda: True)
        self.machines = RentedMachines(
            home,
            AUTHOR,
            self.ssh,
            lambda: self.state,
            lambda: self.wall_ms,
            nothing,
            lambda: self.own_ms,
        )

    async def enter(self, one: Rental, at: SshAt) -> str:
        return await self.machines.probe(one, at, Needs(engine=True))

    async def rented(self) -> Rental:
        keys = await self.machines.keys.make(RENTAL)
        self.user_key = keys.user_public_key
        return Rental(
            RENTAL, "vastai", "main", request_id="r1", author=AUTHOR,
            host_key=keys.host_public_key, quote_nusd=1, state="booting",
        )  # fmt: skip


@pytest.mark.parametrize(
    "host",
    ["-oProxyCommand=touch /tmp/x", "", "a b", "a;b", "127.0.0.1:22", "x" * 300, "\n127.0.0.1"],
)
async def test_what_is_no_address_is_not_reached(tmp_path: Path, host: str) -> None:
    rig = Rig(tmp_path)
    one = await rig.rented()
    assert await rig.enter(one, SshAt(host=host, port=22, user="root")) == ""


@pytest.mark.parametrize("user", ["-l root", "root\n", "", "a b", "$(id)"])
async def test_what_is_no_user_is_not_sent(tmp_path: Path, user: str) -> None:
    rig = Rig(tmp_path)
    one = await rig.rented()
    assert await rig.enter(one, SshAt(host="127.0.0.1", port=9, user=user)) == ""
    assert rig.ssh.rows() == []


async def test_a_service_of_the_persons_own_gets_a_greeting_and_nothing_of_ours(
    tmp_path: Path,
) -> None:
    got = bytearray()

    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.extend(await reader.read(4096))
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(web, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    rig = Rig(tmp_path)
    one = await rig.rented()
    assert await rig.enter(one, SshAt(host="127.0.0.1", port=port, user="root")) == ""
    server.close()
    key = base64.b64decode(rig.user_key.split()[1])
    assert bytes(got).startswith(b"SSH-2.0-")
    assert key not in bytes(got)
    assert RENTAL.encode() not in bytes(got)


async def test_another_machine_at_that_address_is_not_logged_in_to(tmp_path: Path) -> None:
    sshd = Sshd(tmp_path / "sshd", settings={"LogLevel": "DEBUG1"})
    sshd.start()
    try:
        rig = Rig(tmp_path)
        one = await rig.rented()
        at = SshAt(host="127.0.0.1", port=sshd.port, user="root")
        assert await rig.enter(one, at) == "host_key"
        (row,) = rig.ssh.rows()
        assert (row["status"], row["facts"]) == ("key_changed", None)
    finally:
        sshd.stop()


@pytest.mark.parametrize(
    "name", ["../peers", "/etc", "a/b", "x" * 300, "a\0b", "..", "", "é", "r1.7/../x"]
)
def test_a_name_that_another_member_made_up_leads_to_no_file(tmp_path: Path, name: str) -> None:
    home = tmp_path / "home"
    for folder in (home / "peers", home / "rentals"):
        folder.mkdir(parents=True)
        (folder / "login").write_text("secret")
    assert KeyFiles(home).login(name) is None


async def test_the_key_of_a_rental_and_of_its_twin_is_found(tmp_path: Path) -> None:
    keys = KeyFiles(tmp_path)
    for name in (RENTAL, f"{RENTAL}.0f1e-7_A"):
        await keys.make(name)
        assert keys.login(name) is not None


async def test_a_clock_that_is_set_ends_no_machine_as_idle(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    one = await rig.rented()
    asked = {"request_id": "r1", "life_ms": 3_600_000, "idle_ms": 60_000, "cap_nusd": 1}
    where = {"provider": "vastai", "account": "main"}
    rig.state = told([event("rental_requested", 1, AUTHOR, **asked, **where)])
    assert await rig.machines.work(one) == "none"
    rig.wall_ms += 70 * 365 * 86_400_000
    assert await rig.machines.work(one) == "none"
    rig.own_ms += 60_000
    assert await rig.machines.work(one) == "idle"
