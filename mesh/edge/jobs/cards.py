"""The cards behind devices: whose runtime picks them, which they are, how a gang shares a model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

from mathcore.hardware.names import lookup_gpu
from mesh.api.errors import RequestError
from mesh.state.facts.plan import PlanFact
from mesh.state.fleet import DeviceView, host
from mesh.state.jobs import MAX_GANG
from providers.engine.setup import Vendor

# A device of a probed machine ends in its card's number; what ends otherwise is its first.
CARD: Final = re.compile(r"-gpu(\d{1,3})$")
# Makers by the architectures of their cards, as mathcore.hardware has them.
AMD: Final = ("cdna", "rdna", "gcn", "polaris")
INTEL: Final = ("xe", "gaudi")


def machine_of(name: str) -> str:
    """What the machine of a device is called: a card has its number behind that."""
    return CARD.sub("", name)


def vendor_of(device: DeviceView) -> Vendor:
    """Whose runtime picks the device's cards; "" for a processor."""
    if device.kind in ("apple", "cpu"):
        return "apple" if device.kind == "apple" else ""
    known = lookup_gpu(device.model)
    arch = known.arch if known is not None else ""
    if arch.startswith(AMD) or "radeon" in device.model.lower():
        return "amd"
    if arch.startswith(INTEL) or "intel" in device.model.lower():
        return "intel"
    return "nvidia"


def cards_of(device: DeviceView, wanted: int) -> tuple[str, ...]:
    """Indices of the cards the plan uses: a device is one card, or the first of several."""
    if device.kind != "gpu":
        return ()
    found = CARD.search(device.device_id)
    if found is not None and (device.facts.count or 1) == 1:
        return (found[1],)
    return tuple(str(index) for index in range(min(wanted, device.facts.count or 1)))


@final
@dataclass(frozen=True, slots=True)
class Gang:
    """Cards in the order in which they have a model's layers, how many each, in so many stages.

    The output layer counts as one more, the last; cards of one stage split each of its layers.
    """

    cards: tuple[str, ...]
    layers: tuple[int, ...]
    stages: int


def gang_of(plan: PlanFact, devices: Sequence[DeviceView]) -> Gang:
    """How a plan shares its layers out to devices of one card each.

    RequestError where it does not say so of every one of them.
    """
    views = {view.device_id: view for view in devices}
    rows = sorted(plan.members, key=lambda one: one.first_layer)
    if len(rows) != len(views) or {one.device_id for one in rows} != views.keys():
        text = "its plan does not say what each of its devices gives"
        raise RequestError("NoPlan", text, "send it anew")
    # SYCL numbers the cards it is shown by itself: by their number, whatever order they are named.
    if vendor_of(devices[0]) == "intel":
        rows.sort(key=lambda one: _number(views[one.device_id]))
    cards = [card for one in rows for card in cards_of(views[one.device_id], 1)]
    stages = len({one.first_layer for one in rows})
    return Gang(tuple(cards), tuple(one.layers for one in rows), stages)


def _number(view: DeviceView) -> int:
    return int((*cards_of(view, 1), "0")[0])


def groups_of(devices: Mapping[str, DeviceView]) -> tuple[tuple[str, ...], ...]:
    """Of which devices a job may have several: cards of one host, one owner and one maker.

    An engine sees its cards by one maker's runtime. A device that stands for several cards is a
    gang by itself.
    """
    found: dict[tuple[str, str, str], list[str]] = {}
    for key, view in sorted(devices.items()):
        if view.kind == "gpu" and (view.facts.count or 1) == 1 and host(view):
            found.setdefault((view.owner, host(view), vendor_of(view)), []).append(key)
    return tuple(tuple(one) for one in found.values() if len(one) > 1)


def may_be_gang(devices: Iterable[str], groups: Sequence[Sequence[str]]) -> bool:
    """Whether one job may have them all."""
    wanted = set(devices)
    return len(wanted) <= MAX_GANG and any(wanted <= set(group) for group in groups)
