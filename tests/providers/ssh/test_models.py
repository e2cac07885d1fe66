"""Models on a host: found by content wherever they lie, sent once, over cuts, never half."""

import asyncio
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from providers.attempts import Given
from providers.base import NoSpace, ProviderError
from providers.ssh.attempts import SshAttempts
from providers.ssh.bring.models import HostModels
from providers.ssh.pool import Reach
from tests.providers.ssh.conftest import Reaches
from tests.support.nasty import MARK
from tests.support.nasty import NASTY as NASTY_NAMES
from tests.support.sshd import Sshd

MIB = 1 << 20
NASTY = "it's $(touch pwned) `touch pwned` ; \u00e9.gguf"


def weights(path: Path, size: int) -> Path:
    """A file that begins as a GGUF does; nobody loads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"GGUF" + os.urandom(size - 4))
    return path


def models(reach: Reach, tag: str = "tag") -> HostModels:
    return HostModels(reach, tag, "rig", reach.retry)


def files_there(sshd: Sshd, account: str) -> list[Path]:
    folder = sshd.home(account) / ".local/state/fleet-ledger"
    return sorted(path for path in folder.glob("*/models/**/*") if path.is_file())


@pytest.mark.parametrize("sh", ["/bin/dash", "/bin/bash", "/bin/busybox", "/usr/bin/zsh"])
async def test_a_model_is_sent_whole_under_its_name_and_found_the_second_time(
    sshd: Sshd, reaches: Reaches, tmp_path: Path, sh: str
) -> None:
    here, name = weights(tmp_path / NASTY, 17 * MIB + 5), f"sent-{Path(sh).name}"
    reach = reaches.to(sshd.account(name, sh=sh))
    bringing = models(reach)
    assert (bringing.has(here.stat().st_size), bringing.bps) == (False, 0)
    first = await bringing.bring(here)
    assert bringing.has(here.stat().st_size)
    assert bringing.bps > 0
    (there,) = files_there(sshd, name)
    assert str(there) == first
    assert (there.name, there.read_bytes()) == (NASTY, here.read_bytes())
    assert there.stat().st_mode & 0o077 == 0
    before = there.stat().st_mtime_ns
    assert await models(reach).bring(here) == first
    assert there.stat().st_mtime_ns == before
    assert [*sshd.folder.rglob("pwned")] == []


@pytest.mark.parametrize(
    "place",
    [
        ".cache/huggingface/hub/models--o--n/snapshots/abc/{name}",
        ".ollama/models/blobs/sha256-" + "a" * 64,
        ".lmstudio/models/o/n/{name}",
        ".cache/llama.cpp/another name.gguf",
    ],
)
async def test_a_model_that_a_program_keeps_there_is_used_in_place(
    sshd: Sshd, reaches: Reaches, tmp_path: Path, place: str
) -> None:
    here = weights(tmp_path / "m.gguf", 20 * MIB)
    account = f"keeps-{place.split('/')[1 if place[1] == 'c' else 0].strip('.')[:5]}"
    host = sshd.account(account)
    kept = sshd.home(account) / place.format(name=here.name)
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(here, kept)
    other = kept.with_name("a" + kept.name)  # of the same size, and another model
    other.write_bytes(here.read_bytes()[:-MIB] + os.urandom(MIB))
    assert await models(reaches.to(host)).bring(here) == str(kept)
    assert files_there(sshd, account) == []


async def test_a_cut_link_goes_on_where_it_ended(
    own_sshd: Sshd, reaches: Reaches, tmp_path: Path
) -> None:
    here = weights(tmp_path / "big.gguf", 192 * MIB)
    reach = reaches.to(own_sshd.account("cut"))
    bringing = models(reach)
    task = asyncio.create_task(bringing.bring(here))
    cuts = list[int]()
    while len(cuts) < 2 and not task.done():
        came = [path.stat().st_size for path in files_there(own_sshd, "cut")]
        if came and came[0] > sum(cuts[-1:]) + 16 * MIB and came[0] < 160 * MIB:
            cuts.append(came[0])
            own_sshd.cut()
        await asyncio.sleep(0.005)
    there = await task
    assert len(cuts) == 2, cuts
    (found,) = files_there(own_sshd, "cut")
    assert (str(found), found.read_bytes()) == (there, here.read_bytes())


async def test_a_part_that_came_damaged_gets_no_name_and_is_removed(
    sshd: Sshd, reaches: Reaches, tmp_path: Path
) -> None:
    here = weights(tmp_path / "m.gguf", 5 * MIB)
    reach = reaches.to(sshd.account("damaged"))
    await models(reach).bring(here)
    (there,) = files_there(sshd, "damaged")
    draft = there.with_name(f".{there.name}.tag.part")
    there.rename(draft)
    draft.write_bytes(b"x" + draft.read_bytes()[1:])
    with pytest.raises(ProviderError, match="came to rig as another file"):
        await models(reach).bring(here)
    assert files_there(sshd, "damaged") == []
    await models(reach).bring(here)
    assert files_there(sshd, "damaged")[0].read_bytes() == here.read_bytes()


async def test_a_host_without_room_refuses_before_a_byte_is_sent(
    sshd: Sshd, reaches: Reaches, tmp_path: Path
) -> None:
    here = weights(tmp_path / "m.gguf", 5 * MIB)
    reach = reaches.to(sshd.account("full"))
    sshd.tool("full", "df", "echo Filesystem; echo /dev/x 100 96 400000 90% /\n")
    with pytest.raises(NoSpace, match=r"rig has no room for m: 5\.0 MiB to send, 390\.6 MiB free"):
        await models(reach).bring(here)
    assert files_there(sshd, "full") == []


async def test_every_part_of_a_split_model_and_of_a_folder_goes_along(
    sshd: Sshd, reaches: Reaches, tmp_path: Path
) -> None:
    reach = reaches.to(sshd.account("parts"))
    names = [f"m-0000{i}-of-00002.gguf" for i in (1, 2)]
    for i, name in enumerate(names):
        weights(tmp_path / name, (i + 1) * MIB)
    first = await models(reach).bring(tmp_path / names[0])
    assert [path.name for path in files_there(sshd, "parts")] == names
    assert first == str(files_there(sshd, "parts")[0])
    folder = tmp_path / "folder"
    weights(folder / "model.safetensors", MIB)
    (folder / "config.json").write_text("{}")
    made = await models(reach).bring(folder)
    config, beside = (path for path in files_there(sshd, "parts") if str(path).startswith(made))
    assert (config.name, beside.name) == ("config.json", "model.safetensors")
    assert await models(reach).bring(folder) == made
    config.write_text("[]")  # somebody's hand: it is another model now
    assert await models(reach).bring(folder) == made
    assert config.read_text() == "{}"


async def test_files_are_laid_out_once_sent_and_come_back_as_they_are(
    sshd: Sshd, reaches: Reaches, tmp_path: Path
) -> None:
    attempts = SshAttempts(reaches.to(sshd.account("files")))
    names = [text for text in NASTY_NAMES if "/" not in text and text.strip(". ")]
    given = [as_given(tmp_path / str(i), name) for i, name in enumerate(names)]
    await attempts.give("j", 1, given)
    (kept,) = sshd.home("files").glob(".local/state/fleet-ledger/*/files")
    first = {path.name: path.stat().st_ino for path in kept.iterdir()}
    await attempts.give("again", 1, given)
    assert {path.name: path.stat().st_ino for path in kept.iterdir()} == first
    for one in given:
        await attempts.bring_back("j", 1, one.path, tmp_path / "back")
        assert (tmp_path / "back" / one.path).read_bytes() == one.source.read_bytes()
    listed = await attempts.left("j", 1, 99)
    assert listed is not None
    expected = [(one.path.partition("\n")[0] or "?", one.size) for one in given]
    assert sorted((one.path, one.size_bytes) for one in listed) == sorted(expected)
    assert len(await attempts.left("j", 1, 2) or ()) == 2
    gone = next(kept.parent.glob("jobs/j.1/work")) / names[0]
    gone.unlink()
    await attempts.bring_back("j", 1, names[0], tmp_path / "back")
    assert not (tmp_path / "back" / names[0]).exists()
    gone.symlink_to("/etc/passwd")
    assert len(await attempts.left("j", 1, 99) or ()) == len(given) - 1
    assert await attempts.left("j-nobody", 1, 99) is None
    await attempts.bring_back("j", 1, names[0], tmp_path / "back")
    assert not (tmp_path / "back" / names[0]).exists()
    assert [*sshd.folder.rglob(MARK)] == []


def as_given(source: Path, path: str) -> Given:
    data = f"of {path}".encode() * 300_000 if path == "a b" else path.encode()
    source.write_bytes(data)
    name = hashlib.blake2b(data, digest_size=32).hexdigest()
    return Given(path=path, source=source, hash=name, size=len(data))
