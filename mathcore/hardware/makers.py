"""Who makes a device, and whether a name says that somebody else did: data/makers.csv."""

from mathcore.data import read_rows
from mathcore.hardware.facts import GpuFacts

NVIDIA: tuple[str, ...] = ("pascal", "volta", "turing", "ampere", "ada", "hopper", "blackwell")
# Words of a single-board computer before "pi": anything else there is another board's name
# ("Orange Pi 5", "Banana Pi", "Khadas Pi"), with chips of its own.
BOARD, BOARD_MAKER = "pi", "raspberry"
# A processor's name may say whose graphics stand beside it; only these make one another's rival.
PROCESSOR_MAKERS: tuple[str, ...] = ("amd", "intel", "qualcomm", "mediatek", "rockchip")
MAKER = "maker"  # what a word says: who made it, or only the line of products

_READ: list[dict[str, tuple[str, str]]] = []


def _words() -> dict[str, tuple[str, str]]:
    """(maker, what the word says) by word; read when first asked for."""
    if not _READ:
        rows = read_rows("hardware", "makers.csv")
        _READ.append({row["word"]: (row["maker"], row["says"]) for row in rows})
    return _READ[0]


def vendor_of(arch: str) -> str:
    """The maker of an accelerator by architecture; "" for processors and for an unknown one."""
    if arch in NVIDIA:
        return "nvidia"
    if arch.startswith(("rdna", "cdna", "gcn")) or arch == "polaris":
        return "amd"
    return "intel" if arch.startswith("xe") else "apple" if arch.startswith("apple") else ""


def maker_of(facts: GpuFacts) -> str:
    """The maker of a row of the tables; "" where neither its architecture nor its name says."""
    if facts.kind != "cpu":
        return "intel" if facts.arch == "gaudi" else vendor_of(facts.arch)
    for word in facts.name.lower().replace("-", " ").split():
        if word in _words():
            return _words()[word][0]
    return ""


def is_contradicted(words: list[str], facts: GpuFacts) -> bool:
    """Whether words of a name, in their order, say another maker than the row's: "Orange Pi 5"."""
    known = _words()
    if BOARD in words and maker_of(facts) == BOARD_MAKER:
        at = words.index(BOARD)
        return at > 0 and words[at - 1] != BOARD_MAKER
    said = {known[word][0] for word in words if word in known and known[word][1] == MAKER}
    if facts.kind == "cpu":
        said &= set(PROCESSOR_MAKERS)
    own = maker_of(facts)
    return bool(said) and own != "" and own not in said
