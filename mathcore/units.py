"""Bytes, money and time: the constants, and the only text that goes in or out.

Knows no model and no device. GiB (2**30) and GB (10**9) are never mixed.
"""

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB
GB = 1_000_000_000
NUSD = 1_000_000_000  # nano-dollars in a dollar
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

# 4 EiB: one bit less than a signed 64-bit integer, far above any machine.
MAX_BYTES = 1 << 62
MAX_LINK_BPS = 100_000_000_000_000  # a hundred times what any host has
MAX_HOURLY_NUSD = 1_000_000 * NUSD  # a million dollars an hour: no machine costs that
# A number longer than this is a mistake or an attack, never a size or a price.
MAX_DIGITS = 30

_BYTE_UNITS: dict[str, int] = {
    "B": 1,
    "KB": 1000,
    "MB": 1_000_000,
    "GB": GB,
    "TB": 1000 * GB,
    "KIB": KIB,
    "MIB": MIB,
    "GIB": GIB,
    "TIB": TIB,
}
# Makers count device memory in powers of two and write GB.
_MEMORY_UNITS: dict[str, int] = {
    "B": 1,
    "K": KIB,
    "KB": KIB,
    "KIB": KIB,
    "M": MIB,
    "MB": MIB,
    "MIB": MIB,
    "G": GIB,
    "GB": GIB,
    "GIB": GIB,
    "T": TIB,
    "TB": TIB,
    "TIB": TIB,
}
# Engines' own notation: a context of 128k is 131,072 tokens.
_COUNT_UNITS: dict[str, int] = {"": 1, "K": KIB, "M": MIB}
MAX_COUNT = 1 << 40
_LINK_UNITS: dict[str, int] = {"kbit": 1000, "mbit": 1_000_000, "gbit": 1_000_000_000}
_TIME_UNITS: dict[str, int] = {
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "min": 60_000,
    "h": HOUR_MS,
    "d": DAY_MS,
}


def _split(text: str) -> tuple[str, str]:
    """Leading decimal number and the unit after it, both stripped."""
    clean = text.strip()
    end = 0
    while end < len(clean) and (clean[end] in "0123456789."):
        end += 1
    return clean[:end], clean[end:].strip()


def _scaled(number: str, scale: int, text: str) -> int:
    """`number` times `scale` as an exact integer, rounded half up."""
    whole, _, part = number.partition(".")
    digits = whole + part
    if not digits or len(number) > MAX_DIGITS or "." in part:
        raise ValueError(f"'{text}' is not a number with a unit")
    bottom = int("1" + "0" * len(part))
    return (2 * int(digits) * scale + bottom) // (2 * bottom)


def parse_bytes(text: str) -> int:
    """Bytes in "24GiB", "80 GB", "512MiB"; ValueError for a bare or unknown unit."""
    number, unit = _split(text)
    if number and not unit:
        raise ValueError(f"'{text}' has no unit: say GB or GiB")
    scale = _BYTE_UNITS.get(unit.upper(), 0)
    if not number or scale == 0:
        raise ValueError(f"'{text}' is not a size: say for example 24GiB or 80GB")
    size = _scaled(number, scale, text)
    if size > MAX_BYTES:
        raise ValueError(f"'{text}' is more memory than any machine has")
    return size


def parse_memory(text: str) -> int:
    """Bytes of a device's memory in "24GB", "24 GiB", "80G": all mean GiB; ValueError otherwise."""
    number, unit = _split(text)
    if number and not unit:
        raise ValueError(f"'{text}' has no unit: say for example {number}GB")
    scale = _MEMORY_UNITS.get(unit.upper(), 0)
    if not number or scale == 0:
        raise ValueError(f"'{text}' is not a size of memory: say for example 24GB")
    size = _scaled(number, scale, text)
    if not 0 < size <= MAX_BYTES:
        raise ValueError(f"'{text}' is not a size of memory that any machine has")
    return size


def parse_count(text: str) -> int:
    """A number of tokens or sequences in "4096", "8k", "1M" (k = 1024); ValueError otherwise."""
    number, unit = _split(text)
    scale = _COUNT_UNITS.get(unit.upper(), 0)
    if not number or scale == 0 or (unit == "" and "." in number):
        raise ValueError(f"'{text}' is not a whole number: say for example 4096, 8k or 1M")
    count = _scaled(number, scale, text)
    if count > MAX_COUNT:
        raise ValueError(f"'{text}' is more than anything holds")
    return count


def show_count(n: int) -> str:
    """ "8k", "1M" where that is exact, else the digits: what `parse_count` reads back."""
    for scale, unit in ((MIB, "M"), (KIB, "k")):
        if n >= scale and n % scale == 0:
            return f"{n // scale}{unit}"
    return str(n)


def parse_duration_ms(text: str) -> int:
    """Milliseconds in "30s", "5m", "2h", "1d", "250ms"; ValueError otherwise."""
    number, unit = _split(text)
    scale = _TIME_UNITS.get(unit.lower(), 0)
    if not number or scale == 0:
        raise ValueError(f"'{text}' is not a duration: say for example 30s, 5m or 2h")
    return _scaled(number, scale, text)


def parse_link_bps(text: str) -> int:
    """Bits per second in "10Gbit/s", "2.5 Gbit", "1Gbps"; ValueError otherwise."""
    number, unit = _split(text)
    word = unit.lower().removesuffix("/s").removesuffix("ps")
    scale = _LINK_UNITS.get(word if word.endswith("bit") else word + "it", 0)
    speed = _scaled(number, scale, text) if number else 0
    if not 0 < speed <= MAX_LINK_BPS:
        raise ValueError(f"'{text}' is not the speed of a link: say for example 10Gbit/s")
    return speed


def parse_nusd(text: str) -> int:
    """Nano-dollars in "1600", "$0.28"; ValueError otherwise."""
    clean = text.strip().removeprefix("$")
    number, rest = _split(clean)
    if not number or rest:
        raise ValueError(f"'{text}' is not an amount of dollars: say for example 0.28")
    return _scaled(number, NUSD, text)


_HOURLY: tuple[str, ...] = ("/h", "/hr", "/hour", "perhour", "anhour", "hourly")


def parse_hourly_nusd(text: str) -> int:
    """Nano-dollars an hour in "0.45/h", "$0.45", "0.45 USD/h"; ValueError otherwise."""
    amount = "".join(text.lower().split())
    for ending in _HOURLY:
        amount = amount.removesuffix(ending)
    for currency in ("$", "usd"):
        amount = amount.removesuffix(currency).removeprefix(currency)
    try:
        nusd = parse_nusd(amount)
    except ValueError:
        nusd = 0
    if not 0 < nusd <= MAX_HOURLY_NUSD:
        raise ValueError(f"'{text}' is not a price of an hour: say for example 0.45/h")
    return nusd


def show_bytes(n: int) -> str:
    """ "10.0 GiB", "512.0 MiB", "17 B": binary units, one decimal."""
    size = -n if n < 0 else n
    sign = "-" if n < 0 else ""
    unit, name = 1, "B"
    for scale, label in ((TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size >= scale:
            unit, name = scale, label
            break
    if unit == 1:
        return f"{sign}{size} B"
    tenths = (size * 20 + unit) // (2 * unit)
    return f"{sign}{tenths // 10}.{tenths % 10} {name}"


def show_nusd(n: int) -> str:
    """ "$0.0131": at least two decimals, four significant below a dollar."""
    amount = -n if n < 0 else n
    sign = "-" if n < 0 else ""
    decimals = 2 if amount >= NUSD else (4 if amount >= NUSD // 1000 or amount == 0 else 9)
    step = 10 ** (9 - decimals)
    units = (2 * amount + step) // (2 * step)
    whole, part = units // 10**decimals, units % 10**decimals
    return f"{sign}${whole}.{str(part).rjust(decimals, '0')}"


def show_ms(n: int) -> str:
    """ "250 ms", "12.5 s", "3 min 20 s", "2 h 5 min"."""
    if n < 1000:
        return f"{n} ms"
    if n < 60_000:
        return f"{n // 1000}.{n % 1000 // 100} s"
    if n < HOUR_MS:
        return f"{n // 60_000} min {n % 60_000 // 1000} s"
    return f"{n // HOUR_MS} h {n % HOUR_MS // 60_000} min"
