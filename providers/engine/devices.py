"""Which cards an engine sees: by the variable its maker's runtime reads. Pure."""

from collections.abc import Sequence
from typing import Final

# Both runtimes take a list up to the first name that is no card; -1 is none from the start on.
NONE: Final = "-1"
# A card is an index or a UUID ("GPU-5a1c…", "MIG-…"). Anything else would be another selector.
CARD: Final = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-/:.")


def selection(vendor: str, cards: Sequence[str]) -> dict[str, str]:
    """The environment that shows an engine these cards and no others.

    Without cards all of NVIDIA and AMD are hidden: a job planned for the processor takes no memory
    of a card that others were promised. ValueError for what can't be a card's name.
    """
    for card in cards:
        if not card or set(card) - CARD:
            raise ValueError(f"{card[:40]!r} is no card")
    listed = ",".join(cards)
    match vendor:
        case "nvidia":
            # By place on the bus, as nvidia-smi counts; CUDA's own order is fastest first.
            return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": listed or NONE}
        case "amd":
            # ROCr takes UUIDs, and HIP counts within what ROCr left: never set both.
            by_uuid = any(not card.isdigit() for card in cards)
            return {"ROCR_VISIBLE_DEVICES" if by_uuid else "HIP_VISIBLE_DEVICES": listed or NONE}
        case "intel":
            return {"ONEAPI_DEVICE_SELECTOR": f"level_zero:{listed}"} if cards else {}
        case "apple":
            return {}  # Metal has one device
        case _:
            return {"CUDA_VISIBLE_DEVICES": NONE, "HIP_VISIBLE_DEVICES": NONE}
