"""Names of accelerators and processors, matched forgivingly to rows of the tables.

A driver's, a cloud's and a person's spelling mean the same row.
"""

from mathcore.hardware.facts import GpuFacts, cpus, gpus
from mathcore.hardware.makers import is_contradicted

# A model name longer than this is no model name.
MAX_NAME = 120

# Words that say who made or packaged a device, not which one it is.
_NOISE: frozenset[str] = frozenset(
    "nvidia geforce amd radeon instinct tesla gpu generation graphics generations workstation"
    " edition hbm2e hbm2 hbm3 hbm3e gddr6 gddr6x gddr7 intel r tm with w card oam"
    " unified memory aws google habana accelerator cpu processor ws series the core cores jetson"
    " agx data center raspberry grid"
    " sambanova mobile max-q inch".split()
)  # fmt: skip
# Words that may be left over: a socket, a size, a count of processor cores.
_LOOSE: frozenset[str] = frozenset(("pcie", "sxm", "quadro", "blackwell", "server", "per", "soc"))
# Other spellings of the same word or words, after punctuation is gone.
_SPELLED: dict[str, str] = {
    "sxm2": "sxm", "sxm3": "sxm", "sxm4": "sxm", "sxm5": "sxm", "sxm6": "sxm",
    "q": "quadro", "spark": "gb10", "dgx": "gb10", "gaudi3": "gaudi 3", "8060s": "395",
    "8050s": "390", "a100x": "a100", "a100d": "a100", "a100dx": "a100",
    "max1550": "max 1550", "pvc": "max 1550", "pci": "pcie",
    "6000ada": "6000 ada", "5000ada": "5000 ada", "4000ada": "4000 ada", "rtx6000ada": "6000 ada",
    "mi300": "mi300x", "h200nvl": "h200 nvl", "maxq": "max q",
}  # fmt: skip


# Names of several words, after punctuation is gone: a code name or a machine for its chip, and
# Apple's machines for nothing, since the chip is told beside them.
_PHRASES: tuple[tuple[str, str], ...] = (
    ("strix halo", "395"), ("framework desktop", "395"), ("strix point", "890m"),
    ("krackan point", "860m"), ("hawk point", "780m"), ("lunar lake", "140v"),
    ("raspberrypi", "raspberry pi"), ("rpi", "raspberry pi"),
    ("dgx spark", "gb10"), ("graviton 3", "graviton3"), ("graviton 4", "graviton4"),
    ("macbook pro", "mac"), ("macbook air", "mac"), ("macbook", "mac"), ("mac mini", "mac"),
    ("mac studio", "mac"), ("mac pro", "mac"), ("imac pro", "mac"), ("imac", "mac"),
)  # fmt: skip


def _parts(name: str) -> list[str]:
    """Lower-case words; letters that end a card's number are words of their own ("3080ti")."""
    text = name[:MAX_NAME].lower()
    for mark in "-_,()[]/+@:;|*":
        text = text.replace(mark, " ")
    text = f" {' '.join(text.split())} "
    for phrase, meaning in _PHRASES:
        text = text.replace(f" {phrase} ", f" {meaning} ")
    text = text.replace("ryzen ai max ", "ryzen ai max+ ").replace("rtx", " rtx ")
    text = text.replace("gtx", " gtx ").replace("gib", "gb").replace(" gb ", "gb ")
    out: list[str] = []
    for raw in text.split():
        word = "gb10" if raw == "gb10" else raw
        if word.startswith("rx") and word[2:3].isdigit():
            out.append("rx")
            word = word[2:]
        if word.endswith("g") and word[:-1].isdigit():
            word += "b"
        if len(word) == 2 and word[0] == "m" and word[1].isdigit():
            out.append(word)
            continue
        out.extend(_split_ending(word))
    return out


_ENDINGS: tuple[tuple[str, str], ...] = (
    ("tisuper", "ti super"), ("tis", "ti super"), ("ti", "ti"), ("super", "super"),
    ("xtx", "xtx"), ("xt", "xt"), ("gre", "gre"),
)  # fmt: skip


def _split_ending(word: str) -> list[str]:
    """["3080", "ti"] of "3080ti", ["m2", "ultra"] of "m2ultra"; other words as they are."""
    for ending, meaning in _ENDINGS:
        head = word.removesuffix(ending)
        if head != word and len(head) == 4 and head.isdigit():
            return [head] + meaning.split()
    if len(word) == 5 and word[:4].isdigit() and word[4] == "s" and word[0] in "345":
        return [word[:4], "super"]  # marketplaces' "4070S"; AMD's "8060s" begins with an 8
    if len(word) > 2 and word[0] == "m" and word[1] in "123456" and word[2:] in _TIERS:
        return [word[:2], word[2:]]
    return _SPELLED.get(word, word).split()


_TIERS: tuple[str, ...] = ("pro", "max", "ultra")


def name_words(name: str) -> list[str]:
    """The words of a name that tell devices apart, in their order."""
    out: list[str] = []
    for word in _parts(name):
        if word not in _NOISE and word not in out:
            out.append(word)
    if "rtx" in out and "mobile" in name.lower() and "laptop" not in out:
        out.append("laptop")
    if "395" in out or "390" in out or "385" in out:
        out = [word for word in out if word not in ("ryzen", "ai", "max+", "max", "pro")]
    if "pro" in out and "rtx" in out and "blackwell" not in out:
        out.append("blackwell")  # marketplaces' "RTX PRO 6000 WS": no other RTX is a PRO
        if "s" in out:
            out[out.index("s")] = "server"
    if "apple" not in out and _names_apple(out):
        out.append("apple")
    if "mac" in out and "apple" in out:
        out.remove("mac")
    return out


def _names_apple(words: list[str]) -> bool:
    """ "M4", "Mac mini (M4)", "Mac Studio (M3 Ultra)": a chip of Apple's without its name."""
    for i, word in enumerate(words):
        if len(word) == 2 and word[0] == "m" and word[1] in "123456":
            after = words[i + 1] if i + 1 < len(words) else ""
            return i == 0 or "mac" in words or after in _TIERS
    return False


# Families; the number behind them tells processors apart.
_CPU_NOISE: tuple[str, ...] = (
    "ryzen", "epyc", "xeon", "platinum", "threadripper", "2", "quad", "5", "7", "9", "i7", "i9",
    "ultra", "pro", "max",
)  # fmt: skip
# The rows with the words of their names, once somebody asks.
_known: dict[str, list[tuple[GpuFacts, list[str]]]] = {}


def _known_gpus() -> list[tuple[GpuFacts, list[str]]]:
    if "gpus" not in _known:
        _known["gpus"] = [(fact, name_words(fact.name)) for fact in gpus()]
    return _known["gpus"]


def _known_cpus() -> list[tuple[GpuFacts, list[str]]]:
    if "cpus" not in _known:
        _known["cpus"] = [(fact, name_words(fact.name)) for fact in cpus()]
    return _known["cpus"]


def _is_size(word: str) -> bool:
    return word.endswith("gb") and word[:-2].replace(".", "").isdigit()


def _left_over(wanted: list[str], known: list[str], *, apple: bool) -> bool:
    """Whether a word remains that might mean another device."""
    for word in wanted:
        if word in known or _is_size(word) or word in _LOOSE:
            continue
        if apple and word[0].isdigit():
            continue  # "40", "12p": how many cores of which kind
        if word == "rtx" and "laptop" not in wanted:
            if not any([part[0].isdigit() or part[0] in "abp" for part in known]):
                return True
            if known[0] in ("a100", "h100", "l4", "l40"):
                return True
            continue
        return True
    return False


def _holds(wanted: list[str], known: list[str]) -> bool:
    for word in known:
        dropped = word in ("rtx", "gtx", "apple", "arc")  # words people leave out
        dropped = dropped or (word == "pro" and known[-1][0] == "w")  # "W7900"
        old_rx = word == "rx" and len(known[1]) == 4  # "580" alone might be anything
        if word not in wanted and not dropped and not old_rx:
            return False
    return True


def _size_fits(wanted: list[str], fact: GpuFacts) -> bool:
    """A memory size in the name must be one the device is sold with."""
    for word in wanted:
        if _is_size(word):
            asked = float(word[:-2])
            if asked == 480 and fact.name == "GH200":
                continue  # the processor's memory, which is part of the driver's name
            near = [abs(asked - size) <= 0.08 * size + 0.5 for size in fact.memory_options]
            if fact.memory_options and not any(near):
                return False
    return True


def _best(wanted: list[str], *, strict: bool) -> GpuFacts | None:
    best: GpuFacts | None = None
    best_length = 0
    for fact, known in _known_gpus():
        if len(known) <= best_length or not _holds(wanted, known):
            continue
        if fact.kind == "apple" and "apple" not in wanted:
            continue
        if ("laptop" in wanted) != ("laptop" in known):
            continue  # a mobile chip shares the name, not the speed
        if strict and _left_over(wanted, known, apple=fact.kind == "apple"):
            continue
        if not _size_fits(wanted, fact) and not (fact.kind == "apple" or not strict):
            continue
        best, best_length = fact, len(known)
    return best


def _find(wanted: list[str], *, strict: bool) -> GpuFacts | None:
    """The row; an A100 or A800 of unstated size is the 80 GB one, of which far more were sold."""
    found = _best(wanted, strict=strict)
    unstated = not any([_is_size(word) for word in wanted])
    if found is None and unstated and ("a100" in wanted or "a800" in wanted):
        return _best([*wanted, "80gb"], strict=strict)
    return found


# Offers repeat the same few names ten thousand times; the bound is far above any market's.
MAX_MEMO = 4096
_memo: dict[str, GpuFacts | None] = {}


def lookup_gpu(name: str) -> GpuFacts | None:
    """The accelerator a name means ("NVIDIA GeForce RTX 4090", "A100 80GB"), or None.

    A word of another maker makes it another device: "Radeon H100" is none.
    """
    if name in _memo:
        return _memo[name]
    found = _find(name_words(name), strict=True)
    if found is not None and is_contradicted(_parts(name), found):
        found = None
    if len(_memo) < MAX_MEMO:
        _memo[name] = found
    return found


def find_in(text: str) -> GpuFacts | None:
    """The accelerator, else the processor, a machine's description mentions, or None.

    "Intel 265K Custom PC (Nvidia RTX 4090)" means the RTX 4090.
    """
    wanted = name_words(text)
    found = _find(wanted, strict=True)
    if found is None:
        found = _find(wanted, strict=False)
    return found if found is not None else lookup_cpu(text)


def lookup_cpu(name: str) -> GpuFacts | None:
    """The processor a name mentions ("AMD Ryzen 9 7950X 16-Core Processor"), or None."""
    wanted, parts = name_words(name), _parts(name)
    for fact, known in _known_cpus():
        own = [word for word in known if word not in _CPU_NOISE]
        if all([word in wanted for word in own]) and not is_contradicted(parts, fact):
            return fact
    return None
