"""Which devices are worth planning together: cards of one host, or hosts that reach each other.

Every small set is tried, and of a large fleet the fastest and the largest together. Whether a set
is of use, and how it is laid out, is for `set_layouts` and `set_search`.
"""

from typing import final

from mathcore.device import DeviceSpec, Hardware
from mathcore.price import Rate, hourly_nusd

# Devices of one set. llama.cpp itself takes 16 (GGML_SCHED_MAX_BACKENDS, the CPU among them).
MAX_MEMBERS = 15
# Groups of like devices looked at together: 2^6 choices of single ones, some hundred of pairs.
MAX_GROUPS = 6
# Sets of one question. Below this number every choice of members is tried, so a device more never
# costs a good set; a question of five devices has 26.
MAX_SETS = 128


def may_combine(device: DeviceSpec) -> bool:
    """Whether a device can be part of a set.

    Never a rented one: two offers are two machines of unknown distance whose clocks run while one
    waits for the other, and a host with several cards is an offer of its own. Never a processor:
    its share of a model is what offloading plans.
    """
    rented = device.rate.hourly_nusd > 0 or device.location == "cloud"
    usable = device.bandwidth_bytes_per_s > 0 and device.count > 0 and device.free_bytes > 0
    return usable and not rented and device.kind in ("gpu", "apple")


def host_of(device: DeviceSpec) -> str:
    """The host a device sits in; one that names none is alone in its own."""
    return device.host if device.host else f"\n{device.device_id}"


@final
class DeviceSet:
    """Devices to run one model together, the fastest first."""

    __slots__ = ("hosts", "key", "members")

    def __init__(self, members: list[DeviceSpec]) -> None:
        self.members = sorted(members, key=_fastest)
        names: list[str] = []
        for member in self.members:
            host = host_of(member)
            if host not in names:
                names.append(host)
        self.hosts = names
        self.key = "+".join([member.device_id for member in self.members])

    @property
    def free_bytes(self) -> int:
        return _free(self.members)


def as_device(combined: DeviceSet) -> DeviceSpec:
    """The set as one device to rank, price and refuse: bytes and rates are sums, waits the longest.

    Its `rate` is what an hour of all members costs, to the nano-dollar, as far as that is known.
    """
    first = combined.members[0]
    hourly, wait, cards, watts = 0, 0, 0, 0
    for member in combined.members:
        hourly += hourly_nusd(member.rate)
        wait = max(wait, member.wait_ms)
        cards += member.count
        watts += member.watts * member.count
    bases = sorted({member.bandwidth_basis for member in combined.members})
    providers = sorted({member.provider for member in combined.members})
    return DeviceSpec(
        device_id=combined.key,
        name=" + ".join([m.name for m in combined.members]),
        kind=first.kind,
        model=first.model,
        count=cards,
        memory_bytes=first.memory_bytes,
        free_bytes=combined.free_bytes,
        free_basis=first.free_basis,
        bandwidth_bytes_per_s=first.bandwidth_bytes_per_s,
        bandwidth_basis=" and ".join(bases),
        flops=first.flops,
        watts=watts,
        engines=first.engines,
        location=first.location,
        provider=" + ".join(providers),
        ram_free_bytes=_ram(combined.members),
        ram_bandwidth_bytes_per_s=first.ram_bandwidth_bytes_per_s,
        rate=Rate(hourly_nusd=hourly, price_nusd=0, watts=0, source="set"),
        wait_ms=wait,
    )


def _ram(members: list[DeviceSpec]) -> int:
    """Free RAM of the roomiest host, which can be the one that leads; 0 where one is not known."""
    most = 0
    for member in members:
        if member.ram_free_bytes == 0:
            return 0
        most = max(most, member.ram_free_bytes)
    return most


def _fastest(device: DeviceSpec) -> tuple[int, int, str]:
    return (-device.bandwidth_bytes_per_s, -device.free_bytes, device.device_id)


def _free(devices: list[DeviceSpec]) -> int:
    total = 0
    for device in devices:
        total += device.free_bytes * device.count
    return total


@final
class Group:
    """Like devices of one host, the emptiest first: of k of them nobody takes any but the first."""

    __slots__ = ("devices", "free_bytes", "name", "order")

    def __init__(self, devices: list[DeviceSpec]) -> None:
        self.devices = sorted(devices, key=_fastest)
        self.free_bytes = _free(devices)
        self.order = _fastest(self.devices[0])
        self.name = self.devices[0].device_id


def _groups(devices: list[DeviceSpec]) -> list[Group]:
    by_kind: dict[tuple[str, Hardware, Rate], list[DeviceSpec]] = {}
    for device in devices:
        key = (host_of(device), device.hardware, device.rate)
        by_kind.setdefault(key, []).append(device)
    return sorted([Group(found) for found in by_kind.values()], key=_order)


def _order(group: Group) -> tuple[int, int, str]:
    return group.order


def _largest(group: Group) -> tuple[int, tuple[int, int, str]]:
    return (-group.free_bytes, group.order)


def _chosen(groups: list[Group]) -> list[Group]:
    """The fastest and the largest by turns where there are too many."""
    if len(groups) <= MAX_GROUPS:
        return groups
    kept: list[Group] = []
    rows = (groups, sorted(groups, key=_largest))
    for i in range(len(groups)):
        for row in rows:
            if row[i] not in kept and len(kept) < MAX_GROUPS:
                kept.append(row[i])
        if len(kept) == MAX_GROUPS:
            break
    return sorted(kept, key=_order)


def _of_size(
    groups: list[Group], at: int, size: int, taken: list[DeviceSpec], out: list[list[DeviceSpec]]
) -> None:
    """Every choice of `size` more devices from the groups from `at` on, while there is room."""
    if size == 0:
        out.append(list(taken))
        return
    if at == len(groups) or len(out) >= MAX_SETS:
        return
    devices = groups[at].devices
    for count in range(min(size, len(devices)), -1, -1):
        _of_size(groups, at + 1, size - count, taken + devices[:count], out)


def _choices(groups: list[Group]) -> list[list[DeviceSpec]]:
    """Small sets before large ones, then the first k of all by speed and by memory."""
    total = 0
    for group in groups:
        total += len(group.devices)
    out: list[list[DeviceSpec]] = []
    for size in range(2, min(total, MAX_MEMBERS) + 1):
        _of_size(groups, 0, size, [], out)
    for row in (groups, sorted(groups, key=_largest)):
        line: list[DeviceSpec] = []
        for group in row:
            line += group.devices
        out += [line[:size] for size in range(2, min(total, MAX_MEMBERS) + 1)]
    return out


def sets_of(
    devices: list[DeviceSpec], groups: tuple[tuple[str, ...], ...] | None = None
) -> list[DeviceSet]:
    """The sets worth laying out: those of one host, then those over hosts; the order is fixed.

    With `groups` of ids, those within each of them alone.
    """
    if groups is not None:
        inside: list[DeviceSet] = []
        for group in groups:
            inside += sets_of([device for device in devices if device.device_id in group])
        return inside
    able = [device for device in devices if may_combine(device)]
    by_host: dict[str, list[DeviceSpec]] = {}
    for device in able:
        by_host.setdefault(host_of(device), []).append(device)
    found: dict[str, DeviceSet] = {}
    for host in sorted(by_host):
        if 1 < len(by_host[host]) < len(able):
            _add(found, _groups(by_host[host]))
    if len(able) > 1:
        _add(found, _groups(able))
    return list(found.values())


def _add(found: dict[str, DeviceSet], groups: list[Group]) -> None:
    for members in _choices(_chosen(groups)):
        combined = DeviceSet(members)
        if combined.key not in found:
            found[combined.key] = combined
