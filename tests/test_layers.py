"""The architecture, as a test: who may import whom, and where the clock may be read."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = (  # low to high; a module may import its own layer and those before it
    ("mathcore",),
    ("providers",),
    ("mesh.ledger",),
    ("mesh.state", "mesh.sync"),
    ("mesh.policy",),
    ("mesh.api.errors",),
    ("mesh.config", "mesh.edge", "mesh.api.requests", "mesh.edge.planning"),
    ("mesh.node",),
    ("mesh.cli", "mesh.__main__"),
)
PURE = (
    "mathcore", "providers.base", "providers.engine", "mesh.ledger", "mesh.state", "mesh.sync",
    "mesh.policy",
)
WORLD = frozenset(
    "asyncio socket ssl subprocess threading os pathlib random time shutil aiohttp asyncssh "
    "zeroconf pynvml tailscale psutil sqlite3".split()
)
SENSES = frozenset({"open", "print", "input"})
ONE_FILE = {  # a third-party name that may be replaced lives in one file
    "automerge": "mesh.ledger.document",
    "nacl": "mesh.ledger.signing",
    "pynvml": "providers.probe.nvidia",
    "tailscale": "mesh.edge.discovery.tailnet",
    "zeroconf": "mesh.edge.discovery.mdns",
}

Module = tuple[str, ast.Module]


def modules(root: Path = ROOT) -> Iterator[Module]:
    for package in ("mathcore", "providers", "mesh"):
        for path in sorted((root / package).rglob("*.py")):
            name = ".".join(path.relative_to(root).with_suffix("").parts)
            yield name.removesuffix(".__init__"), ast.parse(path.read_text())


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def layer(name: str) -> int | None:
    return next(
        (i for i, group in enumerate(LAYERS) if any(under(name, p) for p in group)), None
    )


def upward_imports(module: Module) -> list[str]:
    name, tree = module
    here = layer(name)
    return [
        f"{name} imports {target}, which lies above it"
        for target in imported(tree)
        if here is not None and (there := layer(target)) is not None and there > here
    ]


def impurities(module: Module) -> list[str]:
    name, tree = module
    if not any(under(name, prefix) for prefix in PURE):
        return []
    found = [f"{name} imports {t}" for t in imported(tree) if t.split(".")[0] in WORLD]
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await):
            found.append(f"{name} is async")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found += [f"{name} calls {node.func.id}()"] * (node.func.id in SENSES)
        if isinstance(node, ast.Attribute) and node.attr in {"utcnow", "today"}:
            found.append(f"{name} reads the clock")
    return found


def test_imports_only_point_down() -> None:
    assert [line for module in modules() for line in upward_imports(module)] == []


def test_pure_modules_do_not_touch_the_world() -> None:
    assert [line for module in modules() for line in impurities(module)] == []


@pytest.mark.parametrize("library", sorted(ONE_FILE))
def test_a_replaceable_library_lives_in_one_file(library: str) -> None:
    homes = {name for name, tree in modules() if any(under(t, library) for t in imported(tree))}
    assert homes <= {ONE_FILE[library]}


def test_the_rules_catch_an_upward_import_and_a_clock() -> None:
    upward = ("mathcore.units", ast.parse("from mesh.state import fold"))
    clock = ("mesh.state.fold", ast.parse("import time"))
    assert upward_imports(upward)
    assert impurities(clock)


def test_no_module_grows_beyond_500_lines() -> None:
    paths = [p for d in ("mathcore", "providers", "mesh") for p in (ROOT / d).rglob("*.py")]
    assert [str(p.relative_to(ROOT)) for p in paths if len(p.read_text().splitlines()) > 500] == []
