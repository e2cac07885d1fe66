"""What makes two devices the same hardware."""

from dataclasses import fields, replace
from typing import Any

import pytest

from mathcore.device import DeviceSpec
from mathcore.price import Rate
from tests.mathcore.fixtures import device

HERE = device()
# What a device is called, where it stands, what it costs, and what is so of it at one moment.
NOT_HARDWARE = {
    "device_id", "name", "location", "provider", "host", "network_bps", "rate", "watts", "wait_ms",
    "free_bytes", "free_basis", "free_low_bytes", "ram_free_bytes", "withheld",
}  # fmt: skip


def other(value: object) -> Any:
    """A value of the same type that is another one."""
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return value + "-other"
    if isinstance(value, tuple):
        return (*value, "other")
    return Rate(hourly_nusd=1) if isinstance(value, Rate) else ("reserved", "until noon")


@pytest.mark.parametrize("name", [field.name for field in fields(DeviceSpec)])
def test_every_field_of_a_device_is_its_hardware_or_known_not_to_be(name: str) -> None:
    """A field added and forgotten in `Hardware` would give one device another's answer."""
    changed = replace(HERE, **{name: other(getattr(HERE, name))})
    assert (changed.hardware == HERE.hardware) is (name in NOT_HARDWARE)


def test_hardware_is_a_value_of_as_many_parts() -> None:
    parts = len(HERE.hardware) - 1 + len(HERE.pace)
    assert HERE.hardware[0] == HERE.pace
    assert parts + len(NOT_HARDWARE) == len(fields(DeviceSpec))
    assert {HERE.hardware, replace(HERE, device_id="b").hardware} == {HERE.hardware}
