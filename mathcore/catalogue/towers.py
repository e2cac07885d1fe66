"""Picture towers of the catalogue's models, whose rows state the language model alone.

data/towers.csv has the vision_config a publisher states; without one a model is known to have a
tower, and nothing of it, so that a plan can say what it leaves out.
"""

from mathcore.data import read_rows

TOWER = "vision_config"
_READ: dict[str, dict[str, dict[str, object]]] = {}


def _value(text: str) -> object:
    if ";" in text:
        return [int(part) for part in text.split(";")]
    return int(text)


def _table() -> dict[str, dict[str, object]]:
    """What is to be added to a model's config, by its name."""
    if "all" not in _READ:
        found: dict[str, dict[str, object]] = {}
        for row in read_rows("catalogue", "towers.csv"):
            fields: dict[str, object] = {}
            for pair in row["vision_config"].split():
                name, _, value = pair.partition("=")
                fields[name] = _value(value)
            found[row["name"]] = {"model_type": row["model_type"], TOWER: fields}
        _READ["all"] = found
    return _READ["all"]


def tower_of(name: str, config: dict[str, object]) -> dict[str, object] | None:
    """The config a catalogue model's tower is read from; None where it has none we know of."""
    found = _table().get(name)
    if found is None:
        return None
    if not found["model_type"]:
        return {TOWER: {"unknown": True}}
    return {**config, **found}
