"""One model over several GGUF files: their names, and one header of all of them.

llama.cpp's gguf-split writes PREFIX-00001-of-00003.gguf: the metadata in the first, tensors in any.
"""

from mathcore.gguf.header import GgufHeader
from mathcore.model.spec import SpecError, Tensor

MAX_SHARDS = 1024  # real models have under 100
MAX_TENSORS = 65_536  # of all shards together
_ENDING = len("-00001-of-00003.gguf")


def shard_names(name: str) -> list[str]:
    """Every file of the model `name` is one of, in order; [name] for a model in one file."""
    head, ending = name[:-_ENDING], name[-_ENDING:]
    number, count = ending[1:6], ending[10:15]
    shaped = ending == f"-{number}-of-{count}.gguf" and (number + count).isdecimal()
    if not shaped or not head or not number.isascii() or not count.isascii():
        return [name]
    total = int(count)
    if total < 1 or total > MAX_SHARDS:
        raise SpecError(name, f"{total} files are not between 1 and {MAX_SHARDS}")
    if not 1 <= int(number) <= total:
        raise SpecError(name, f"is number {int(number)} of {total} files")
    return [f"{head}-{i:05d}-of-{total:05d}.gguf" for i in range(1, total + 1)]


def _integer(header: GgufHeader, key: str) -> int:
    value = header.metadata.get(key)
    if value is None:
        raise SpecError(key, "is missing from a file of a split model")
    if isinstance(value, bool) or not isinstance(value, int):
        raise SpecError(key, "is not a whole number")
    return value


def join_headers(headers: list[GgufHeader]) -> GgufHeader:
    """The header the unsplit model would have; SpecError where the files are not one model."""
    if len(headers) == 1 and not headers[0].metadata.get("split.count"):
        return headers[0]
    tensors: list[Tensor] = []
    names: set[str] = set()
    for i, header in enumerate(headers):
        count, number = _integer(header, "split.count"), _integer(header, "split.no")
        if count != len(headers):
            raise SpecError("split.count", f"says {count} files, there are {len(headers)}")
        if number != i:
            raise SpecError("split.no", f"file {i + 1} says it is number {number + 1}")
        for tensor in header.tensors:
            if tensor.name in names:
                raise SpecError(tensor.name, "appears in two files")
            names.add(tensor.name)
        tensors.extend(header.tensors)
        if len(tensors) > MAX_TENSORS:
            raise SpecError("split.tensors.count", f"more than the {MAX_TENSORS} allowed")
    promised = _integer(headers[0], "split.tensors.count")
    if promised != len(tensors):
        raise SpecError("split.tensors.count", f"says {promised} tensors, there are {len(tensors)}")
    return _joined(headers, tuple(tensors))


def _joined(headers: list[GgufHeader], tensors: tuple[Tensor, ...]) -> GgufHeader:
    first = headers[0]
    kept = [key for key in first.metadata if not key.startswith("split.")]
    return GgufHeader(
        version=first.version,
        metadata={key: first.metadata[key] for key in kept},
        tensors=tensors,
        end=first.end,
        data_bytes=sum([header.data_bytes for header in headers]),
        alignment=first.alignment,
        lengths=first.lengths,
    )
