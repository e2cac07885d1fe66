"""Bills of a home on this machine, with the daemon up or down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

from mesh.api.bills.report import Names
from mesh.api.rentals.rows import host_name
from mesh.api.serving.keys import key_name
from mesh.config import load_config
from mesh.edge.bills.asking import Bills
from mesh.edge.bills.gathering import Watch
from mesh.edge.dispatch.candidates import is_rented
from mesh.edge.store.ledger import Reader
from mesh.edge.store.state import current_state
from mesh.state.bills.calendar import zone_of
from mesh.state.state import State


def bills_of(
    home: Path,
    zone: str,
    now_ms: Callable[[], int],
    watch: Callable[[], Watch] = Watch,
) -> Bills:
    """The bills of a ledger, read anew at each question. StoreError where there is no ledger."""

    def load() -> tuple[Reader, State]:
        reader = Reader.open(home)
        try:
            return reader, current_state(reader)
        except BaseException:
            reader.close()
            raise

    def named(state: State) -> Names:
        return names_of(state, load_config(home).name)

    return Bills(home, zone_of(zone) or ZoneInfo("UTC"), load, now_ms, named, watch)


def names_of(state: State, own: str = "") -> Names:
    """What people call peers, keys and hardware; `own`: how a peer without a fleet is called."""
    peers = {one: state.members.name(one) for one in state.members.judge().grants}
    if not peers and len(state.counts) == 1:  # a peer that is alone
        peers = dict.fromkeys(state.counts, own)
    keys = {one: key_name(state.keys, one) for one in state.keys}
    hosts = (host_name(one) for one in state.rentals.every())
    described = (one.device_id for one in state.devices.values() if is_rented(one))
    rented = frozenset((*hosts, *described))
    return Names(peers=peers, keys=keys, hardware=_Hardware(state), rented=rented)


class _Hardware(Mapping[str, str]):
    """What a device's owner calls its hardware, looked up when it is asked for."""

    def __init__(self, state: State) -> None:
        self._state = state

    def __getitem__(self, device: str) -> str:
        return self._state.device_model(device)

    def __iter__(self) -> Iterator[str]:
        return iter(self._state.devices)

    def __len__(self) -> int:
        return len(self._state.devices)
