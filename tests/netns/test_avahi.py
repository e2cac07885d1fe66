"""avahi, which most Linux desktops run, sees our announcement, and we see what it announces."""

import shutil
import subprocess

import pytest

from mesh.edge.identity import peer_id
from tests.netns.lab import Lab
from tests.support.waiting import wait_until

# A system bus and an avahi of its own, in the private mounts that `ip netns exec` gives.
AVAHI = """
mount -t tmpfs none /run && mkdir -p /run/dbus /run/avahi-daemon
dbus-daemon --system --nofork --nopidfile & bus=$!
conf=/run/avahi.conf
printf '[server]\\nhost-name=alpha\\nallow-interfaces=eth0\\nuse-ipv6=no\\n' > $conf
for i in $(seq 100); do [ -S /run/dbus/system_bus_socket ] && break; sleep 0.05; done
avahi-daemon --no-chroot --no-drop-root --no-rlimits -f $conf & avahi=$!
trap 'kill $avahi $bus' EXIT
for i in $(seq 100); do avahi-daemon --check && break; sleep 0.05; done
"""
BROWSE = (
    AVAHI
    + """
for i in $(seq 30); do
  found=$(avahi-browse -rpt _fleetledger._tcp | grep '^=')
  [ "$(echo "$found" | grep -c "^=")" -ge 3 ] && break
  sleep 0.2
done
echo "$found"
"""
)
PUBLISH = (
    AVAHI
    + """
avahi-publish -s ghost-afafafa _fleetledger._tcp 7999 v=1 id=$1 pair=7998 & made=$!
echo published
read line
kill $made
"""
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("avahi-browse") is None, reason="avahi is not installed"),
]


def test_avahi_browse_prints_every_peer_and_its_id(fleet: Lab) -> None:
    done = subprocess.run(
        fleet.hosts[2].inside("bash", "-c", BROWSE),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("=")]
    for host in fleet.hosts:
        (line,) = [one for one in lines if host.ok("id").strip() in one]
        assert f";{host.address};" in line
        assert '"v=1"' in line


def test_what_avahi_announces_is_seen(fleet: Lab) -> None:
    ghost = peer_id("ab" * 32)
    process = subprocess.Popen(
        fleet.hosts[2].inside("bash", "-c", PUBLISH, "avahi", ghost),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        wait_until(lambda: "ghost" in fleet.hosts[0].ok("doctor"), "the ghost in doctor")
        assert "10.77.0.3:7999" in fleet.hosts[0].ok("doctor")
    finally:
        process.communicate("done\n", timeout=30)
