"""This peer's devices as its jobs need them: its own, and those of hosts it reaches by SSH."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from mathcore.device import DeviceSpec
from mathcore.planner.loading import transfer_ms
from mesh.edge.ssh.hosts import SshHosts
from mesh.edge.ssh.work import HostAttempts
from mesh.edge.telemetry.recorder import Telemetry
from mesh.edge.telemetry.rooms import rooms
from mesh.policy.queue.room import room_of
from mesh.policy.queue.values import Room
from mesh.state.state import State
from providers.attempts import Attempts
from providers.here import LocalAttempts


@final
class Machines:
    """Where attempts run, and the room there is."""

    def __init__(
        self,
        here: LocalAttempts,
        telemetry: Telemetry,
        ssh: SshHosts,
        state: Callable[[], State],
        now_ms: Callable[[], int],
    ) -> None:
        self._here, self._telemetry, self._ssh = here, telemetry, ssh
        self._state: Final = state
        self._now_ms: Final = now_ms

    def attempts(self, device_id: str) -> Attempts:
        """Where a device's attempts run: here, or on the host that has it."""
        host = self._ssh.known(device_id)
        if host is None:
            return self._here
        return HostAttempts(
            host.attempts,
            self._here.folder,
            host.engines,
            host.card,
            host.name,
            host.lock,
            host.lock(device_id.rpartition("-")[2].removeprefix("gpu")),
        )

    def bring_ms(self, device_id: str, model_bytes: int) -> int:
        """How long until a model that is on this machine is where a device's engine reads it."""
        host = self._ssh.known(device_id)
        if host is None or host.engines is None or host.engines.models.has(model_bytes):
            return 0
        return round(transfer_ms(model_bytes, 0, host.engines.models.bps).p50)

    def writes_here(self, device_id: str) -> bool:
        """Whether what runs there writes on this machine."""
        return self._ssh.attempts(device_id) is None

    def live(self) -> list[DeviceSpec]:
        """Every device with its free memory: of this machine now, of hosts at their last probe."""
        return [*self._telemetry.devices(), *self._ssh.live(self._state())]

    def rooms(self) -> list[Room]:
        """The room on every device; blocking for a moment."""
        now, state = self._now_ms(), self._state()
        # One job at a time: on the host a card is locked for one, whoever's it is.
        live = self._ssh.live(state)
        hosts = [room_of(state, one, now, now_ms=now, max_jobs=1) for one in live]
        return [*rooms(self._telemetry, self._state, self._now_ms), *hosts]
