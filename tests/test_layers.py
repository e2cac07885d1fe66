"""The architecture, as a test: who may import whom, and where the clock may be read."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("mathcore", "providers", "mesh")

# Each room and the rooms it may import, besides itself. Every module belongs to the longest name
# here that is a prefix of its own, and a module that belongs to none fails.
UNITS = ("mathcore.units",)
DATA = ("mathcore.data",)
MODEL = ("mathcore.model",)
QUANT = ("mathcore.quant", *MODEL)
NUMBERS = ("mathcore.band", "mathcore.device", "mathcore.memo", "mathcore.price", *UNITS)
SPEED = ("mathcore.speed", "mathcore.hardware", *DATA, *QUANT, *NUMBERS)
ENGINES = ("mathcore.engines", "mathcore.device", "mathcore.memo", *QUANT, *UNITS)
PLANNER = ("mathcore.planner", *ENGINES, *SPEED)
FORMATS = (
    "mathcore.formats",
    "mathcore.gguf",
    "mathcore.architectures",
    "mathcore.convert",
    *QUANT,
)
STATE = ("mesh.state", "mesh.ledger", "mathcore.market", *PLANNER)
API = ("mesh.api", "providers.rental.labels", *STATE)
PRIVATE = ("mesh.edge.jobs.private", "mesh.edge.disk", *API)
DISK = ("mesh.edge.disk", "mesh.edge.identity", "mesh.state", "mesh.ledger")
STORE = ("mesh.edge.store", "mesh.sync", *DISK)
DISCOVERY = ("mesh.edge.discovery", *DISK)
TRANSPORT = ("mesh.edge.transport", "mesh.api", "mesh.sync", *DISCOVERY)
HTTP = (
    "mesh.edge.http",
    "mesh.edge.dispatch.ports",
    "mesh.policy",
    "mathcore.catalogue",
    "mesh.edge.store",
    *TRANSPORT,
    *PRIVATE,
)
PAIRING = ("mesh.edge.pairing", "mesh.config", "mesh.sync", *HTTP)
SIGNING = ("mesh.edge.signing", *STORE)
PEERING = ("mesh.edge.peering", *PAIRING, *SIGNING)
MODELS = ("mesh.edge.models", "providers", *PEERING)
CLOUDS = (
    "mesh.policy.rentals",
    "providers.rental",
    "providers.vastai",
    "providers.runpod",
    "providers.lambdalabs",
)
EDGE = ("mesh.edge", "mesh.serving", *CLOUDS, *MODELS)
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "mathcore": (),
    "mathcore.units": (),
    "mathcore.data": (),
    "mathcore.band": (),
    "mathcore.memo": (),
    "mathcore.price": UNITS,
    "mathcore.market": (*DATA, *UNITS),
    "mathcore.device": ("mathcore.price", *UNITS),
    "mathcore.model": (),
    "mathcore.quant": ("mathcore.band", "mathcore.memo", *DATA, *MODEL),
    "mathcore.architectures": MODEL,
    "mathcore.convert": MODEL,
    "mathcore.hardware": ("mathcore.memo", *DATA, *UNITS),
    "mathcore.gguf": QUANT,
    "mathcore.formats": FORMATS,
    "mathcore.catalogue": (*DATA, *FORMATS),
    "mathcore.engines": ENGINES,
    "mathcore.speed": SPEED,
    "mathcore.planner": PLANNER,
    "mathcore.api": ("mathcore.catalogue", *FORMATS, *PLANNER),
    "providers": ("providers.rental", "mathcore.catalogue", "mathcore.hardware", *FORMATS, *UNITS),
    "providers.rental": (),
    "providers.lambdalabs": ("providers.rental",),
    "providers.vastai": ("providers.rental",),
    "providers.runpod": ("providers.rental",),
    "mesh": (),
    "mesh.ledger": (),
    "mesh.state": STATE,
    "mesh.sync": ("mesh.ledger",),
    "mesh.policy": STATE,
    "mesh.policy.rentals": (
        "mesh.policy",
        "providers.rental.contract",
        "providers.rental.labels",
        *STATE,
    ),
    "mesh.serving": ("mesh.api.errors", "mesh.serving"),
    "mesh.api": API,
    "mesh.config": (
        "mesh.api.errors",
        "mesh.policy.yield_settings",
        "mesh.state.address",
        "mesh.state.bills.calendar",
        *UNITS,
    ),
    "mesh.edge.disk": (),
    "mesh.edge.jobs.private": PRIVATE,
    "mesh.edge.dispatch.ports": ("mesh.sync", *API),
    "mesh.edge.identity": DISK,
    "mesh.edge.store": STORE,
    "mesh.edge.signing": SIGNING,
    "mesh.edge.discovery": DISCOVERY,
    "mesh.edge.transport": TRANSPORT,
    "mesh.edge.http": HTTP,
    "mesh.edge.pairing": PAIRING,
    "mesh.edge.peering": PEERING,
    "mesh.edge.models": MODELS,
    "mesh.edge": EDGE,
    "mesh.followers": ("mesh.ledger",),
    "mesh.served": ("mesh.followers", *EDGE),
    "mesh.node": ("mesh.followers", "mesh.served", *EDGE),
    "mesh.services": ("mesh.node", "mesh.served", *EDGE),
    "mesh.daemon": ("mesh.services", "mesh.node", "mesh.served", *EDGE),
    "mesh.cli": ("mesh.daemon", "mesh.node", *EDGE),
    "mesh.__main__": ("mesh.cli",),
    "mesh.client": ("mesh.cli", "mesh.config", "mesh.state", "mesh.api"),
}
DOORS = ("mathcore", "mesh")  # hold docstrings; nothing may stand in them but rooms
PURE = (
    "mathcore", "providers.base", "providers.engine", "providers.telemetry.sample",
    "providers.telemetry.health", "providers.telemetry.energy", "mesh.ledger", "mesh.state",
    "mesh.sync", "mesh.policy", "mesh.api", "mesh.serving",
    "providers.ssh.framing", "providers.ssh.hosts", "providers.ssh.limits",
    "providers.ssh.launching", "providers.ssh.reading", "providers.ssh.bring.engines",
    "providers.rental.boot", "providers.rental.contract", "providers.rental.labels",
    "providers.rental.reading", "providers.rental.units", "providers.rental.waits",
    "providers.vastai.balance", "providers.vastai.charges", "providers.vastai.creating",
    "providers.vastai.ending", "providers.vastai.errors", "providers.vastai.listing",
    "providers.vastai.money", "providers.vastai.offers", "providers.vastai.profile",
    "providers.vastai.rises",
    "providers.lambdalabs.ending", "providers.lambdalabs.errors", "providers.lambdalabs.launch",
    "providers.lambdalabs.listing", "providers.lambdalabs.offers", "providers.lambdalabs.profile",
    "providers.lambdalabs.reading", "providers.lambdalabs.ssh_keys",
    "providers.runpod.balance", "providers.runpod.charges", "providers.runpod.create",
    "providers.runpod.ending", "providers.runpod.listing", "providers.runpod.offers",
    "providers.runpod.profile", "providers.runpod.replies",
)  # fmt: skip
READS_DATA = "mathcore.data"  # the one reader of data tables
WORLD = frozenset(
    "asyncio socket ssl subprocess threading os pathlib random time shutil aiohttp asyncssh "
    "zeroconf pynvml tailscale psutil sqlite3".split()
)
SENSES = frozenset({"open", "print", "input"})
ONE_FILE = {  # a third-party name that may be replaced lives in one file
    "asyncssh": "providers.ssh.client",
    "cryptography": "providers.ssh.keys",
    "automerge": "mesh.ledger.document",
    "blake3": "providers.models.hashing",
    "keyring": "mesh.edge.clouds.ring",
    "mcp": "mesh.cli.mcp.server",
    "mnemonic": "mesh.policy.words",
    "nacl": "mesh.ledger.signing",
    "pynvml": "providers.probe.nvidia",
    "tailscale": "mesh.edge.discovery.tailnet",
    "zeroconf": "mesh.edge.discovery.mdns",
}
MAX_LINES = 400
MAX_MODULES = 16  # to a folder, __init__ not counted: what a person takes in at one look

Module = tuple[str, ast.Module]


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


@cache
def modules() -> tuple[Module, ...]:
    return tuple((name_of(path), ast.parse(path.read_text())) for path in sources())


NAMES = frozenset(name_of(path) for path in sources())


@cache
def imported(tree: ast.Module) -> tuple[str, ...]:
    """Modules of ours a module imports, and outside names with what is taken from them."""
    return tuple(_imported(tree))


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                ours = str(node.module) in NAMES and whole not in NAMES
                yield str(node.module) if ours else whole


def under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def room(name: str) -> str | None:
    """The longest entry of MAY_IMPORT a module stands under; bare packages hold only themselves."""
    found = [e for e in MAY_IMPORT if name == e or (under(name, e) and e not in DOORS)]
    return max(found, key=len, default=None)


def allowed(here: str, target: str) -> bool:
    """Whether a module of room `here` may import `target`: its room or itself is listed."""
    listed = (here, *DOORS, *MAY_IMPORT[here])
    return room(target) in listed or target in listed


def forbidden_imports(module: Module) -> list[str]:
    name, tree = module
    here = room(name)
    if here is None:
        return [f"{name} stands in no room the test knows"]
    return [
        f"{name} imports {target}, which {here} may not"
        for target in imported(tree)
        if target.split(".")[0] in PACKAGES and not allowed(here, target)
    ]


def promised(tree: ast.Module) -> set[ast.AST]:
    """Async methods of protocols: they say what others do, and do nothing."""
    return {
        method
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)
        for method in node.body
        if isinstance(method, ast.AsyncFunctionDef)
    }


def impurities(module: Module) -> list[str]:
    name, tree = module
    if name == READS_DATA or not any(under(name, prefix) for prefix in PURE):
        return []
    found = [f"{name} imports {t}" for t in imported(tree) if t.split(".")[0] in WORLD]
    described = promised(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await) and node not in described:
            found.append(f"{name} is async")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found += [f"{name} calls {node.func.id}()"] * (node.func.id in SENSES)
        if isinstance(node, ast.Attribute) and node.attr in {"utcnow", "today"}:
            found.append(f"{name} reads the clock")
    return found


def circle(edges: dict[str, set[str]]) -> list[str]:
    """A circle of modules, or [] where there is none."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return path[path.index(name) :]
        if name in done:
            return []
        for target in sorted(edges.get(name, ())):
            if found := visit(target, [*path, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(edges) if (found := visit(name, []))), [])


def at_import(tree: ast.Module) -> Iterator[str]:
    """What a module imports when it is loaded: not inside functions, not for types only."""
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imported(ast.Module(body=[node], type_ignores=[]))


def test_imports_only_point_down() -> None:
    assert [line for module in modules() for line in forbidden_imports(module)] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert (
        circle({name: NAMES.intersection(at_import(tree)) - {name} for name, tree in modules()})
        == []
    )


def test_pure_modules_do_not_touch_the_world() -> None:
    assert [line for module in modules() for line in impurities(module)] == []


@pytest.mark.parametrize("library", sorted(ONE_FILE))
def test_a_replaceable_library_lives_in_one_file(library: str) -> None:
    homes = {name for name, tree in modules() if any(under(t, library) for t in imported(tree))}
    assert homes <= {ONE_FILE[library]}


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("mathcore.units", "from mesh.state.fold import fold"),
        ("mathcore.speed.priors", "from mathcore.planner.plan import plan"),
        ("mathcore.engines.mlx", "from mathcore.speed.chip import Chip"),
        ("mathcore.planner.plan", "from mathcore.catalogue.models import find_model"),
        ("mathcore.planner.plan", "import mathcore.formats.config"),
        ("mesh.api.rows", "from mesh.edge.store.state import load_state"),
        ("mesh.edge.store.reader", "from mesh.edge.http.guard import Guard"),
        ("mesh.edge.discovery.mdns", "from mesh.edge.pairing.desk import Desk"),
        ("mesh.edge.pairing.desk", "from mesh.edge.planning import make_plan"),
        ("mesh.edge.models.service", "from mesh.edge.jobs.intake import Intake"),
        ("mesh.node", "from mesh.cli.app import run"),
        ("mesh.cli.app", "from mesh.client.fleet import Fleet"),
        ("mesh.client.fleet", "from mesh.node import Node"),
        ("mathcore.newcomer", "import json"),
    ],
)
def test_the_rules_catch_an_upward_import(name: str, line: str) -> None:
    assert forbidden_imports((name, ast.parse(line)))


def test_the_rules_catch_a_clock_and_a_circle() -> None:
    assert impurities(("mesh.state.fold", ast.parse("import time")))
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c"]


def test_no_module_grows_beyond_400_lines() -> None:
    long = [name_of(p) for p in sources() if len(p.read_text().splitlines()) > MAX_LINES]
    assert long == []


def test_no_folder_holds_more_than_16_modules() -> None:
    folders = {path.parent for path in sources()}
    counts = {str(f.relative_to(ROOT)): len([*f.glob("*.py")]) - 1 for f in folders}
    assert {folder: count for folder, count in counts.items() if count > MAX_MODULES} == {}


def test_units_load_no_other_module_of_mathcore() -> None:
    program = (
        "import sys, mathcore.units; print(*(m for m in sys.modules if m.startswith('mathcore')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    names = {name for name in done.stdout.split() if "__mypyc" not in name}
    assert names == {"mathcore", "mathcore.units"}
