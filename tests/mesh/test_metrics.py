"""One scrape beside one daemon tells the fleet, and says of a peer that is gone only that."""

import re
from urllib.request import Request, urlopen

from tests.mesh.conftest import Machine, Maker, up_all
from tests.support.waiting import wait_until

Series = dict[tuple[str, str], float]


def scrape(one: Machine) -> Series:
    """Values by metric and peer."""
    daemon = one.daemon
    headers = {"Authorization": f"Bearer {daemon.token}"}
    with urlopen(Request(f"{daemon.url}/metrics", headers=headers)) as response:
        text = response.read().decode()
    lines = re.findall(r'^(\w+){(?:.*,)?peer="([^"]*)".*} (\S+)$', text, re.M)
    return {(name, peer): float(value) for name, peer, value in lines}


def test_ana_tells_bens_devices_until_he_is_gone(machines: Maker) -> None:
    ana, ben = up_all(machines, "ana ben")
    ben.join(ana)
    wait_until(ana.sees("ben", "online"), "ana linked with ben")

    def tells_ben() -> Series | None:
        found = scrape(ana)
        return found if ("fleet_device_mem_free_bytes", "ben") in found else None

    found = wait_until(tells_ben, "ben's devices in ana's scrape")
    assert found["fleet_device_up", "ben"] == found["fleet_device_up", "ana"] == 1
    assert found["fleet_peer_linked", "ben"] == 1
    assert ("fleet_peer_linked", "ana") not in found

    ben.stop()
    wait_until(ana.sees("ben", "offline"), "ben gone from ana")

    def tells_him_gone() -> Series | None:
        found = scrape(ana)
        return found if found["fleet_device_up", "ben"] == 0 else None

    gone = wait_until(tells_him_gone, "ben's devices away in ana's scrape")
    assert gone["fleet_peer_linked", "ben"] == 0
    assert gone["fleet_device_mem_total_bytes", "ben"] > 0
    assert ("fleet_device_mem_free_bytes", "ben") not in gone
    assert gone["fleet_device_up", "ana"] == 1
