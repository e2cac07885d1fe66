"""What an attempt on this machine left is named, and nothing else is."""

import os
from pathlib import Path

import pytest

from providers.attempts import WORK
from providers.base import ProviderError
from providers.here import LocalAttempts


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = LocalAttempts(tmp_path).folder("j", 1) / WORK
    folder.mkdir(parents=True)
    return folder


async def listed(tmp_path: Path, most: int = 9) -> list[tuple[str, int]]:
    found = await LocalAttempts(tmp_path).left("j", 1, most)
    assert found is not None
    return [(one.path, one.size_bytes) for one in found]


async def test_what_an_attempt_left_is_listed_and_links_are_not(work: Path, tmp_path: Path) -> None:
    (work / "deep").mkdir()
    (work / "out.txt").write_text("made")
    (work / "deep" / "more.bin").write_bytes(bytes(7))
    (work / "away").symlink_to("/etc/passwd")
    (work / "elsewhere").symlink_to("/etc")
    assert await listed(tmp_path) == [("out.txt", 4), ("deep/more.bin", 7)]
    assert await listed(tmp_path, 1) == [("out.txt", 4)]


async def test_a_name_that_is_no_text_is_listed_as_some(work: Path, tmp_path: Path) -> None:
    (work / os.fsdecode(b"\xff.txt")).write_text("x")
    assert await listed(tmp_path) == [("\ufffd.txt", 1)]


async def test_what_is_gone_is_not_taken_for_one_that_left_nothing(tmp_path: Path) -> None:
    attempts = LocalAttempts(tmp_path)
    assert await attempts.left("j", 1, 9) is None
    attempts.folder("j", 1).mkdir(parents=True)
    assert await attempts.left("j", 1, 9) == [], "it was given no folder"


@pytest.mark.parametrize("odd", ["../..", "a/b", "..", ""])
async def test_an_id_that_names_another_folder_lists_none(odd: str, tmp_path: Path) -> None:
    with pytest.raises(ProviderError):
        await LocalAttempts(tmp_path).left(odd, 1, 9)
