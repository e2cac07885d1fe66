"""When preemptible work gives way on this machine, as its owner says it: `yield` of fleet.toml."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, get_args

Reason = Literal["person", "battery", "heat", "memory"]
Action = Literal["pause", "stop"]

REASONS: Final[tuple[Reason, ...]] = get_args(Reason)
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)
OFF: Final = "off"
# Shorter, and a person who reads the screen counts as gone; longer is work that never goes on.
MIN_IDLE_MS: Final = 1_000
MAX_IDLE_MS: Final = 24 * 3_600_000
# Below, a card at rest is too hot; above, chips stop by themselves.
MIN_TEMP_C: Final = 30
MAX_TEMP_C: Final = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class YieldPolicy:
    """For one device. `when` None: all reasons where there is a desktop, none without one."""

    when: tuple[Reason, ...] | None = None
    idle_ms: int = 300_000  # without input for so long, nobody is there
    max_temp_c: int = 83  # where consumer cards begin to lower their clocks
    action: Action = "pause"

    def reasons(self, *, desktop: bool) -> tuple[Reason, ...]:
        """The reasons that count on such a machine."""
        if self.when is not None:
            return self.when
        return REASONS if desktop else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class YieldPolicies:
    """The machine's, and those of single devices by their id or its end ("gpu0")."""

    machine: YieldPolicy = YieldPolicy()
    devices: Mapping[str, YieldPolicy] = field(default_factory=dict)

    def of(self, device_id: str) -> YieldPolicy:
        """The device's own; else the machine's."""
        for name, policy in self.devices.items():
            if device_id == name or device_id.endswith(f"-{name}"):
                return policy
        return self.machine


def read_yield(value: object) -> YieldPolicies:
    """A table of fleet.toml, a list of reasons, or one text with commas; "off" is none at all.

    ValueError says in one line what is wrong.
    """
    if not isinstance(value, dict):
        return YieldPolicies(machine=YieldPolicy(when=_when(value)))
    table = {key: said for key, said in value.items() if key != "devices"}
    machine = _policy(table, YieldPolicy())
    devices = value.get("devices", {})
    if not isinstance(devices, dict) or not all(isinstance(t, dict) for t in devices.values()):
        raise ValueError("devices must hold a table for each device, such as devices.gpu0")
    return YieldPolicies(
        machine=machine,
        devices={name: _of_device(name, said, machine) for name, said in devices.items()},
    )


def _of_device(name: str, table: dict[str, object], base: YieldPolicy) -> YieldPolicy:
    try:
        return _policy(table, base)
    except ValueError as error:
        raise ValueError(f"devices.{name}: {error}") from error


def _policy(table: dict[str, object], base: YieldPolicy) -> YieldPolicy:
    """The base with what the table says of it."""
    found: dict[str, Any] = {}
    for key, said in table.items():
        if key not in _KEYS:
            raise ValueError(f"unknown key {key!r}; known: {', '.join(_KEYS)}, devices")
        name, read = _KEYS[key]
        found[name] = read(said)
    return replace(base, **found)


def _when(value: object) -> tuple[Reason, ...]:
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"when must be a list of {', '.join(REASONS)}")
    said = [word.strip() for word in words if word.strip()]
    if said == [OFF]:
        return ()
    unknown = [word for word in said if word not in REASONS]
    if unknown:
        raise ValueError(f"when: unknown reason {unknown[0]!r}; known: {', '.join(REASONS)}")
    return tuple(reason for reason in REASONS if reason in said)


def _idle(value: object) -> int:
    from mathcore.units import parse_duration_ms

    try:
        found = parse_duration_ms(value) if isinstance(value, str) else 0
    except ValueError:
        found = 0
    if not MIN_IDLE_MS <= found <= MAX_IDLE_MS:
        raise ValueError('idle must be a time from "1s" to "1d", such as "5m"')
    return found


def _temperature(value: object) -> int:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not MIN_TEMP_C <= int(str(value)) <= MAX_TEMP_C:
        raise ValueError(f"max_temp must be degrees Celsius, {MIN_TEMP_C} to {MAX_TEMP_C}")
    return int(str(value))


def _action(value: object) -> Action:
    for action in ACTIONS:
        if value == action:
            return action
    raise ValueError('action must be "pause" or "stop"')


_KEYS: Final[dict[str, tuple[str, Callable[[object], Any]]]] = {
    "when": ("when", _when),
    "idle": ("idle_ms", _idle),
    "max_temp": ("max_temp_c", _temperature),
    "action": ("action", _action),
}
