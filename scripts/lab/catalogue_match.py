"""Which catalogue row a benchmark's or a file's model name means, decorations and all."""

from mathcore.catalogue.models import Row, canonical, keys, rows

MAX_NAME = 300  # a file's name; anything longer is no model's
MAX_BILLIONS = 1e6  # of parameters; more, or no number at all, says nothing

# A count with decimals is measured, maybe with the draft layers; a whole one was rounded, and may
# include a vision tower.
_EXACT = 0.045
_ROUNDED = 0.12
_HALF = 0.55  # billions: what rounding to a whole number may hide
_NAMED = 3  # words that name a model without its size
_SAME = 0.005  # two counts this near are the same model


def _plain(text: str) -> str:
    """Lower case, every separator a dash; a dot stays only where it is a number's."""
    out = ""
    for i, mark in enumerate(text.lower()):
        after = text[i + 1 : i + 2]
        dot = mark == "." and not after.isdecimal()
        out += "-" if mark in "_: ()+,-" or dot else mark
    return out


def _words(name: str) -> list[str]:
    """The name's words, but those that say how it was tuned for talking."""
    words = _plain(name[:MAX_NAME].rpartition("/")[2]).split("-")
    return [word for word in words if word not in ("", "instruct", "chat", "it", "hf")]


_KNOWN: dict[str, Row] = {}


def _known() -> dict[str, Row]:
    if not _KNOWN:
        for key, row in keys().items():
            _KNOWN.setdefault("-".join(_words(key)), row)
    return _KNOWN


def _sized(words: list[str]) -> bool:
    """One word says how many parameters: "8b", "e4b", "350m", "8x7b"."""
    for word in words:
        if len(word) > 1 and word[-1] in "bm" and any([c.isdigit() for c in word]):
            return True
    return False


def _copied(row: Row) -> int:
    """Numbers of a tied table, which some tools count twice."""
    vocab, hidden = row.config.get("vocab_size"), row.config.get("hidden_size")
    if row.config.get("tie_word_embeddings") is True and isinstance(vocab, int):
        return vocab * hidden if isinstance(hidden, int) else 0
    return 0


def _fits(row: Row, params_b: float) -> bool:
    if params_b <= 0:
        return True
    rounded = params_b == int(params_b)
    for count in (row.parameters, row.parameters + _copied(row)):
        off = abs(count / 1e9 - params_b)
        if off <= (max(_ROUNDED * params_b, _HALF) if rounded else _EXACT * params_b):
            return True
    return False


def _described(words: list[str], params_b: float) -> str:
    """llama-bench's own words, "llama 70B": the family, told apart by the exact count."""
    if len(words) != 2 or params_b == int(params_b):
        return ""
    for row in rows():
        near = abs(row.parameters / 1e9 - params_b) <= _SAME * params_b
        if near and row.name.startswith(f"{words[0]}-"):
            return row.name
    return ""


def _longest(words: list[str], params_b: float) -> Row | None:
    """The longest known name among neighbouring words that is of a sized model and fits."""
    known, sized = _known(), _sized(words)
    best = ""
    found: Row | None = None
    for start in range(len(words)):
        for end in range(len(words), start, -1):
            key = "-".join(words[start:end])
            row = known.get(key)
            if row is None or len(key) <= len(best):
                continue
            # "qwen3" alone is no model; "qwen3-coder-next" is, unless a size follows it.
            long = end - start >= _NAMED and not sized
            told = long or _sized(words[start:end]) or not _sized(_words(row.name))
            if told and _fits(row, params_b):
                best, found = key, row
    return found


def match_model(name: str, params_b: float = 0.0) -> str:
    """The row's name, or "" where the name or its count (billions, 0 = unknown) means none.

    A fine-tune that keeps its base's name is that base.
    """
    if not 0 < params_b < MAX_BILLIONS:
        params_b = 0.0
    words = _words(name)
    found = keys().get(canonical(name))
    if found is None or not _fits(found, params_b):
        found = _longest(words, params_b)
    if found is not None and abs(found.parameters / 1e9 - params_b) <= _SAME * params_b:
        return found.name
    exact = _described(words, params_b)
    return exact if exact or found is None else found.name
