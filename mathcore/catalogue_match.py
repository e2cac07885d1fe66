"""Which catalogue row a benchmark's or a file's model name means, decorations and all."""

from mathcore.catalogue import Row, canonical, keys, rows

MAX_NAME = 300  # a file's name; anything longer is no model's

# A count with decimals is measured; a whole one was rounded, and may include a vision tower.
_EXACT = 0.03
_ROUNDED = 0.12
_HALF = 0.55  # billions: what rounding to a whole number may hide
_SAME = 0.005  # two counts this near are the same model


def _words(name: str) -> list[str]:
    text = name[:MAX_NAME].strip().lower().rpartition("/")[2].removesuffix(".gguf")
    for mark in "_: ()+,":
        text = text.replace(mark, "-")
    return [word for word in text.replace(".i1", "-i1").split("-") if word]


def _sized(words: list[str]) -> bool:
    """One word says how many parameters: "8b", "e4b", "350m", "8x7b", "35b.a3b"."""
    for word in words:
        head = word.split(".a")[0]
        if len(head) > 1 and head[-1] in "bm" and any([c.isdigit() for c in head]):
            return True
    return False


def _fits(row: Row, params_b: float) -> bool:
    if params_b <= 0:
        return True
    off = abs(row.parameters / 1e9 - params_b)
    if params_b != int(params_b):
        return off <= _EXACT * params_b
    return off <= max(_ROUNDED * params_b, _HALF)


def _described(words: list[str], params_b: float) -> str:
    """llama-bench's own words, "llama 70B": the family, told apart by the exact count."""
    if len(words) != 2 or params_b <= 0:
        return ""
    for row in rows():
        near = abs(row.parameters / 1e9 - params_b) <= _SAME * params_b
        if near and row.name.startswith(words[0]):
            return row.name
    return ""


def match_model(name: str, params_b: float = 0.0) -> str:
    """The row's name, or "" where the name or its count (billions, 0 = unknown) means none.

    The longest known name within it wins; a fine-tune that keeps its base's name is that base.
    """
    known = keys()
    whole = known.get(canonical(name))
    if whole is not None and _fits(whole, params_b):
        return whole.name
    words = _words(name)
    best = ""
    found = ""
    for start in range(len(words)):
        for end in range(len(words), start, -1):
            key = "-".join(words[start:end])
            row = known.get(key)
            if row is None or len(key) <= len(best):
                continue
            if _sized(words[start:end]) == _sized([row.name]) and _fits(row, params_b):
                best, found = key, row.name
    return found if found else _described(words, params_b)
