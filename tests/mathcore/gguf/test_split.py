"""A model over several files is one model, or refused."""

from dataclasses import replace

import pytest

from mathcore.api import SpecError, Tensor
from mathcore.gguf.header import GgufHeader
from mathcore.gguf.split import join_headers, shard_names


def part(number: int, count: int, tensors: int, promised: int, **more: object) -> GgufHeader:
    names = [f"blk.{number}.t{i}.weight" for i in range(tensors)]
    kept = {"split.no": number, "split.count": count, "split.tensors.count": promised, **more}
    return GgufHeader(
        version=3,
        metadata=kept,
        end=100,
        data_bytes=64 * tensors,
        alignment=32,
        lengths={},
        tensors=tuple(Tensor(name=n, columns=32, rows=1, dims=1, type_name="F16") for n in names),
    )


def test_shards_are_named_as_gguf_split_names_them() -> None:
    assert shard_names("m-00002-of-00003.gguf") == [
        "m-00001-of-00003.gguf",
        "m-00002-of-00003.gguf",
        "m-00003-of-00003.gguf",
    ]
    for single in ("m.gguf", "00001-of-00002.gguf", "m-1-of-2.gguf", "m-0000²-of-00003.gguf"):
        assert shard_names(single) == [single]


@pytest.mark.parametrize(
    "name",
    [
        "m-00004-of-00003.gguf",
        "m-00000-of-00003.gguf",
        "m-00001-of-00000.gguf",
        "m-00001-of-99999.gguf",
    ],
)
def test_an_impossible_shard_number_is_refused(name: str) -> None:
    with pytest.raises(SpecError):
        shard_names(name)


def test_tensors_of_all_files_come_under_the_first_one_s_metadata() -> None:
    first = part(0, 2, 2, 5, **{"general.architecture": "llama"})
    joined = join_headers([first, part(1, 2, 3, 5)])
    assert [t.name for t in joined.tensors][::4] == ["blk.0.t0.weight", "blk.1.t2.weight"]
    assert joined.metadata == {"general.architecture": "llama"}
    assert joined.data_bytes == 5 * 64


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ([part(0, 3, 2, 4), part(1, 3, 2, 4)], "split.count"),
        ([part(1, 2, 2, 4), part(0, 2, 2, 4)], "split.no"),
        ([part(0, 2, 2, 5), part(1, 2, 2, 5)], "split.tensors.count"),
        ([part(0, 1, 2, 4)], "split.tensors.count"),
        ([part(0, 2, 2, 4)], "split.count"),
    ],
)
def test_files_that_are_not_one_model_are_refused(headers: list[GgufHeader], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        join_headers(headers)
    assert caught.value.field == field


def test_a_key_without_which_a_split_is_unclear_is_named() -> None:
    for key in ("split.count", "split.no"):
        second = part(1, 2, 2, 4)
        kept = {name: value for name, value in second.metadata.items() if name != key}
        with pytest.raises(SpecError) as caught:
            join_headers([part(0, 2, 2, 4), replace(second, metadata=kept)])
        assert caught.value.field == key


def test_the_same_tensor_in_two_files_is_refused() -> None:
    first = part(0, 2, 2, 4)
    twice = replace(part(1, 2, 2, 4), tensors=first.tensors)
    with pytest.raises(SpecError, match="two files"):
        join_headers([first, twice])
