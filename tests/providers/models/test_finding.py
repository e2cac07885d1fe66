"""Finding models where they lie, whatever else lies there."""

import json
import os
from pathlib import Path

import pytest

from providers.models import finding
from providers.models.finding import model_at, scan
from providers.models.identity import Part
from providers.models.incoming import Incoming
from providers.models.known import Known
from providers.models.limits import GIB, Throttle, metered_from, refused_disk
from providers.models.places import (
    FETCHED,
    FOLDER,
    HUGGING_FACE,
    LM_STUDIO,
    OLLAMA,
    Place,
    hub_cache,
    llamacpp_cache,
    places,
)
from tests.providers.models.conftest import Write


def names(folder: Path, keeper: str = FOLDER) -> list[str]:
    return [one.name for one in scan([Place(keeper=keeper, folder=folder)]).models]


def weights(folder: Path) -> Path:
    """A folder as safetensors models have it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "tokenizer.json", "model.safetensors", "modeling.py"):
        (folder / name).write_text("{}")
    return folder


def test_ggufs_and_folders_of_weights_are_models_and_nothing_else_is(
    tmp_path: Path, gguf: Write
) -> None:
    gguf(tmp_path / "maker" / "a.gguf")
    weights(tmp_path / "b")
    (tmp_path / "secret.txt").write_text("x")
    (tmp_path / "fake.gguf").write_text("root:x:0:0")
    found = scan([Place(keeper=LM_STUDIO, folder=tmp_path)])
    assert {one.name for one in found.models} == {"a", "b"}
    assert [one for one in found.notes if "fake.gguf is no GGUF" in one]
    folder = next(one for one in found.models if one.name == "b")
    assert [one.name for one in folder.parts] == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]  # code never travels


def test_a_split_gguf_is_one_model_and_not_without_all_its_parts(
    tmp_path: Path, gguf: Write
) -> None:
    for n in (1, 2, 3):
        gguf(tmp_path / f"big-Q4-0000{n}-of-00003.gguf")
    found = scan([Place(keeper=FOLDER, folder=tmp_path)]).models
    assert [(one.name, len(one.parts)) for one in found] == [("big-Q4", 3)]
    (tmp_path / "big-Q4-00002-of-00003.gguf").unlink()
    short = scan([Place(keeper=FOLDER, folder=tmp_path)])
    assert short.models == []
    assert "00002-of-00003.gguf is missing" in short.notes[0]


def test_a_hub_cache_is_read_through_its_links(tmp_path: Path, gguf: Write) -> None:
    repo = tmp_path / "models--Qwen--Qwen3-8B"
    snapshot = repo / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    weights(repo / "blobs")
    for name in ("config.json", "model.safetensors"):
        (snapshot / name).symlink_to(f"../../blobs/{name}")
    (snapshot / "vocab.json").symlink_to("/etc/hostname")
    (repo / "blobs" / "config.json").rename(repo / "blobs" / ("c" * 64))
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to("../../blobs/" + "c" * 64)
    found = scan([Place(keeper=HUGGING_FACE, folder=tmp_path)]).models
    assert [one.name for one in found] == ["Qwen/Qwen3-8B"]
    assert "vocab.json" not in [one.name for one in found[0].parts]  # it leads out of the cache


def test_ollama_s_blobs_are_named_by_its_manifests(tmp_path: Path, gguf: Write) -> None:
    blob = gguf(tmp_path / "blobs" / ("sha256-" + "1" * 64))
    home = tmp_path / "manifests" / "registry.ollama.ai" / "library" / "llama3.2"
    home.mkdir(parents=True)
    layer = {
        "mediaType": "application/vnd.ollama.image.model",
        "digest": "sha256:" + "1" * 64,
        "size": blob.stat().st_size,
    }
    (home / "1b").write_text(json.dumps({"schemaVersion": 2, "layers": [layer]}))
    (home / "3b").write_text(json.dumps({"layers": [{**layer, "digest": "sha256:" + "2" * 64}]}))
    (home / "odd").write_text("]")
    found = scan([Place(keeper=OLLAMA, folder=tmp_path)])
    assert [(one.name, one.path) for one in found.models] == [("ollama:llama3.2:1b", blob)]
    assert found.models[0].parts[0].name == "llama3.2-1b.gguf"
    assert len(found.notes) == 2


def test_links_that_lead_in_circles_are_walked_once(tmp_path: Path, gguf: Write) -> None:
    gguf(tmp_path / "a" / "m.gguf")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "again.gguf").symlink_to(tmp_path / "a" / "m.gguf")
    assert len(names(tmp_path)) == 1


def test_a_folder_that_cannot_be_read_hides_nothing_else(
    tmp_path: Path, gguf: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    gguf(tmp_path / "b" / "m.gguf")
    (tmp_path / "a").mkdir()
    real = os.scandir

    def refusing(path: Path) -> object:
        if str(path).endswith("/a"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = scan([Place(keeper=FOLDER, folder=tmp_path)])
    assert [one.name for one in found.models] == ["m"]
    assert "Permission denied" in found.notes[0]


def test_a_walk_ends_however_much_there_is(
    tmp_path: Path, gguf: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(30):
        gguf(tmp_path / f"{n:02}" / "m.gguf")
    monkeypatch.setattr(finding, "MAX_ENTRIES", 40)
    found = scan([Place(keeper=FOLDER, folder=tmp_path)])
    assert 0 < len(found.models) < 30
    assert "too much to look at" in found.notes[-1]
    monkeypatch.setattr(finding, "MAX_MODELS", 3)
    assert len(names(tmp_path)) == 3
    deep = gguf(tmp_path / "deep" / "/".join("x" * 12) / "m.gguf")
    assert names(tmp_path / "deep") == []
    assert names(deep.parent) == ["m"]


def test_places_that_are_not_there_are_no_news(tmp_path: Path) -> None:
    found = scan([Place(keeper=FOLDER, folder=tmp_path / "gone")])
    assert (found.models, found.notes) == ([], [])


def test_only_what_was_fetched_whole_is_a_model(tmp_path: Path, gguf: Write) -> None:
    known = Known(tmp_path / "known")
    parts = (Part(name="m.gguf", path=gguf(tmp_path / "m.gguf")),)
    coming = Incoming(tmp_path / "models" / "one", known.manifest(parts))
    assert names(tmp_path / "models", FETCHED) == []
    for chunk in [*coming.missing()]:
        coming.take(chunk, memoryview(parts[0].path.read_bytes()))
    coming.finish()
    assert names(tmp_path / "models", FETCHED) == []
    coming.seal(known.identity("said", parts))
    assert names(tmp_path / "models", FETCHED) == ["said"]


def test_a_person_s_path_is_a_file_any_part_or_a_folder(tmp_path: Path, gguf: Write) -> None:
    gguf(tmp_path / "m-00001-of-00002.gguf")
    second = gguf(tmp_path / "m-00002-of-00002.gguf")
    found = model_at(second)
    assert found is not None
    assert len(found.parts) == 2
    folder = model_at(weights(tmp_path / "w"))
    assert folder is not None
    assert folder.name == "w"
    assert model_at(tmp_path / "none.gguf") is None
    assert model_at(tmp_path) is None


def test_the_variables_of_other_programs_say_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hub_cache({"HF_HUB_CACHE": "/x"}) == Path("/x")
    assert hub_cache({"HF_HOME": "/y"}) == Path("/y/hub")
    assert hub_cache({"XDG_CACHE_HOME": "/z"}) == Path("/z/huggingface/hub")
    assert llamacpp_cache({"LLAMA_CACHE": "/l"}) == Path("/l")
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path))
    found = places(["/mnt/models"], tmp_path / "home", {})
    assert found[0] == Place(keeper=FETCHED, folder=tmp_path / "home")
    assert Place(keeper=FOLDER, folder=Path("/mnt/models")) in found
    assert Place(keeper=OLLAMA, folder=tmp_path) in found


def test_a_disk_s_room_is_refused_with_its_figures() -> None:
    room = {"taken": 150 * GIB, "limit": 200 * GIB, "free": 100 * GIB}
    assert refused_disk(40 * GIB, **room) == ""
    assert "150.0 GiB already, and may take 200.0 GiB" in refused_disk(60 * GIB, **room)
    assert "2.0 GiB of that stay so" in refused_disk(
        4 * GIB, taken=0, limit=200 * GIB, free=5 * GIB
    )


def test_a_line_s_rate_holds_over_time_and_none_means_none() -> None:
    line, now = Throttle(1_000_000), 100.0
    for _ in range(50):
        now += line.wait_s(100_000, now)
    assert 4.5 <= now - 100.0 <= 5.0
    assert Throttle(0).wait_s(1 << 30, 0.0) == 0.0


def test_what_networkmanager_says_of_a_metered_line() -> None:
    said = {
        "u 1\n": True,
        "u 3": True,
        "u 2": False,
        "u 4": False,
        "u 0": None,
        "": None,
        "x": None,
    }
    assert {text: metered_from(text) for text in said} == said
