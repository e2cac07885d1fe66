"""The dashboard's files: all there, all its own, and strict about what a browser runs."""

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

import mesh
from mesh.edge.http.app import make_app
from mesh.edge.http.dashboard.pages import STATIC, files
from tests.edge.http.fake_node import TOKEN, FakeNode

ROOT = Path(__file__).parents[3]
# As npm's package htm 3.1.1 has it: whoever changes the file says so here.
VENDORED = {
    "vendor/htm-preact.js": "72284e8e9079c87817145df1110f74e8a2aa040b2fc384922e18dfcb46fc1fd7"
}
OURS = sorted(name for name in files() if not name.startswith("vendor/"))
SCRIPTS = [name for name in OURS if name.endswith(".js")]
IMPORTED = re.compile(r"""^(?:import|export)\b[^;]*?from "([^"]+)";""", re.MULTILINE)
MAX_LINES = 300
MAX_WEIGHT_BYTES = 250_000  # of all files, as a browser gets them


async def fetched(folder: Path, path: str) -> tuple[int, Any, bytes]:
    async with (
        TestClient(TestServer(make_app(FakeNode(folder), TOKEN))) as client,
        client.get(path) as response,
    ):
        return response.status, response.headers, await response.read()


@pytest.mark.parametrize("name", ["", "main.js", "style.css", "icon.svg", "vendor/htm-preact.js"])
async def test_every_file_forbids_what_is_not_its_own(tmp_path: Path, name: str) -> None:
    status, headers, body = await fetched(tmp_path, f"/dashboard/{name}")
    assert (status, body) == (200, files()[name or "index.html"])
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "http" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Access-Control-Allow-Origin" not in headers


async def test_a_file_is_sent_small_and_once(tmp_path: Path) -> None:
    async with TestClient(
        TestServer(make_app(FakeNode(tmp_path), TOKEN)), auto_decompress=False
    ) as client:
        plain = {"Accept-Encoding": "identity"}
        sizes = {}
        for name in files():
            async with client.get(f"/dashboard/{name}") as small:
                assert small.headers["Content-Encoding"] == "gzip"
                sizes[name] = len(await small.read())
                known = {"If-None-Match": small.headers["ETag"]}
            async with client.get(f"/dashboard/{name}", headers=plain) as whole:
                assert await whole.read() == files()[name]
            async with client.get(f"/dashboard/{name}", headers=known) as again:
                assert (again.status, await again.read()) == (304, b"")
                assert again.headers["Content-Security-Policy"]
    assert sum(sizes.values()) < MAX_WEIGHT_BYTES


def test_every_script_is_asked_for_at_once() -> None:
    text = files()["index.html"].decode()
    preloaded = re.findall(r'rel="modulepreload" href="([^"]+)"', text)
    scripts = [name for name in files() if name.endswith(".js")]
    assert sorted([*preloaded, "main.js"]) == sorted(scripts)


@pytest.mark.parametrize(
    "name", ["nothing.js", "../sessions.py", "vendor/NOTICE.md", "vendor", "tabs/"]
)
async def test_what_is_no_file_of_the_page_is_not_found(tmp_path: Path, name: str) -> None:
    from yarl import URL

    path = URL(f"/dashboard/{name}", encoded=True)
    async with (
        TestClient(TestServer(make_app(FakeNode(tmp_path), TOKEN))) as client,
        client.get(path) as response,
    ):
        assert response.status in (401, 404)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_imports_files_that_are_there(name: str) -> None:
    for found in IMPORTED.findall(files()[name].decode()):
        assert found.startswith("."), f"{name} imports {found}"
        target = (STATIC / name).parent.joinpath(found).resolve()
        assert target.relative_to(STATIC.resolve()).as_posix() in files()


def test_the_page_names_files_that_are_there_and_nothing_inline() -> None:
    text = files()["index.html"].decode()
    named = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert named
    assert set(named) <= set(files())
    assert not re.findall(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=", text)


@pytest.mark.parametrize("name", OURS)
def test_no_file_of_ours_makes_markup_of_text_or_names_another_place(name: str) -> None:
    text = files()[name].decode().replace("http://www.w3.org/2000/svg", "")
    for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "://"):
        assert word not in text, f"{name} has {word}"
    assert len(text.splitlines()) <= MAX_LINES


@pytest.mark.parametrize("name", sorted(VENDORED))
def test_a_vendored_file_is_as_its_maker_made_it(name: str) -> None:
    assert hashlib.sha256(files()[name]).hexdigest() == VENDORED[name]
    notice = (STATIC / "vendor/NOTICE.md").read_text()
    for licence in STATIC.glob("vendor/LICENSE-*"):
        assert licence.name in notice
    assert Path(name).name in notice


def test_every_vendored_file_has_its_notice_and_its_hash() -> None:
    assert {name for name in files() if name.startswith("vendor/")} == set(VENDORED)


def test_a_built_package_takes_the_files_along() -> None:
    # tests/install compares a real wheel with the tree, file by file.
    assert "graft mesh" in (ROOT / "MANIFEST.in").read_text().splitlines()
    own = STATIC.relative_to(Path(mesh.__file__).parent)
    assert (ROOT / "mesh" / own / "index.html").is_file()
