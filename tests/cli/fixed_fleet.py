"""One fleet that never changes: a ledger written at fixed instants with a fixed key, and what a
daemon would say of its peers. Golden texts are made from it."""

from pathlib import Path
from typing import Any

from mathcore.units import GIB, NUSD
from mesh.edge.identity import load_or_create
from mesh.edge.store.ledger import Ledger

NOW = 1_750_000_000_000  # 2025-06-15 15:06:40 UTC
HOUR, DAY = 3_600_000, 86_400_000
FILE = "/models/qwen3-30b-a3b-instruct-2507-ud-q4_k_xl.gguf"


def device(name: str, **changes: object) -> tuple[str, str, dict[str, object]]:
    """The registration of an RTX 4090 in the room next door, or of what `changes` say."""
    payload: dict[str, object] = {
        "name": name,
        "kind": "gpu",
        "model": "RTX 4090",
        "count": 1,
        "memory_bytes": 24 * GIB,
        "free_bytes": 25_250_627_584,
        "free_basis": "estimated",
        "bandwidth_bytes_per_s": 1_008_000_000_000,
        "bandwidth_basis": "catalogue",
        "engines": ["llama.cpp"],
        "location": "lan",
        "transport": "ssh",
        "provider": "ssh",
        "described_by": "hand",
        **changes,
    }
    return "device_registered", f"dev-{name}", payload


CPU = device(
    "workstation",
    kind="cpu",
    model="AMD Ryzen 9 7950X 16-Core Processor",
    memory_bytes=128 * GIB,
    free_bytes=97 * GIB,
    free_basis="measured",
    location="local",
    transport="agent",
    provider="local",
    described_by="probe",
)
CLOUD = device(
    "rented-a100",
    model="A100 80GB",
    count=8,
    memory_bytes=80 * GIB,
    free_bytes=79 * GIB,
    engines=["llama.cpp", "vllm"],
    location="cloud",
    provider="api",
    transport="api",
    hourly_nusd=9 * NUSD,
)


def job(number: int, **request: object) -> tuple[str, dict[str, object]]:
    """(id, request) of a job."""
    return f"job-{number:04d}", {"job_id": f"job-{number:04d}", "kind": "model", **request}


PLAN: dict[str, object] = {
    "engine": "llama.cpp",
    "quant": "Q4_K_M",
    "tokens_per_s_milli": {"p10": 118_000, "p50": 139_400, "p90": 161_200},
    "prefill_tokens_per_s_milli": {"p10": 3_900_000, "p50": 5_100_000, "p90": 6_600_000},
    "duration_ms": {"p10": 5_000, "p50": 6_000, "p90": 8_000},
    "cost_nusd": {"p10": 90_000, "p50": 110_000, "p90": 150_000},
    "footprint": {"total_bytes": 18 * GIB},
    "basis": "prior: RTX 4090, bandwidth catalogue",
    "run": {},
    "work": {},
}
DONE: dict[str, object] = {
    "reason": "ok",
    "tokens_generated": 256,
    "prompt_tokens": 512,
    "throughput_mtps": 143_700,
    "prefill_mtps": 4_870_000,
    "actual_duration_ms": 6_250,
    "actual_cost_nusd": 118_400,
    "peak_memory_bytes": 18 * GIB,
}


def write_ledger(home: Path) -> str:
    """The fleet's ledger in `home`; returns the author's key."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = home / "identity.key"
    key.write_bytes(bytes([7]) * 32)
    key.chmod(0o600)
    ledger = Ledger.open(home)
    try:
        for at, event_type, device_id, payload in events():
            ledger.append(event_type, device_id or ledger.peer_id, payload, at)
    finally:
        ledger.close()
    return load_or_create(home).author


def events() -> list[tuple[int, str, str, dict[str, object]]]:
    """(instant, type, device, payload), in order."""
    found: list[tuple[int, str, str, dict[str, object]]] = []

    def add(at: int, event_type: str, device_id: str, payload: dict[str, object]) -> None:
        found.append((at, event_type, device_id, payload))

    for registered in (CPU, device("rig"), CLOUD):
        add(NOW - 3 * DAY, *registered)
    done, request = job(1, model=FILE, batch=1)
    add(NOW - DAY, "job_submitted", "", request)
    add(NOW - DAY + 50, "job_dispatched", "dev-rig", {"job_id": done, "plan": PLAN})
    add(NOW - DAY + 900, "job_started", "dev-rig", {"job_id": done})
    add(NOW - DAY + 7_150, "job_completed", "dev-rig", {"job_id": done, **DONE})
    bad, request = job(2, command=["python3", "train.py", "--epochs", "12"], kind="command")
    add(NOW - 3 * HOUR, "job_submitted", "", request)
    add(NOW - 3 * HOUR + 40, "job_dispatched", "dev-workstation", {"job_id": bad})
    add(NOW - 3 * HOUR + 80, "job_started", "dev-workstation", {"job_id": bad})
    ended = {"reason": "exit", "text": "exit code 7", "exit_code": 7, "actual_duration_ms": 95_000}
    add(NOW - 2 * HOUR, "job_failed", "dev-workstation", {"job_id": bad, **ended})
    now, request = job(3, model=FILE, batch=4)
    add(NOW - 130_000, "job_submitted", "", request)
    add(NOW - 129_000, "job_dispatched", "dev-rig", {"job_id": now, "plan": PLAN})
    add(NOW - 125_000, "job_started", "dev-rig", {"job_id": now})
    add(NOW - 60_000, "note_added", "", {"text": "cleaned the fans; naïve – but it helped"})
    return found


PEERS: list[dict[str, Any]] = [
    {
        "peer_id": "QZ4M2PA-XK7LD3E-AAAAAAA",
        "key": "07" * 32,
        "name": "workstation",
        "seniority": "founder",
        "forked_at": None,
        "shattered_at": None,
        "role": "admin",
        "you": True,
        "state": "online",
        "address": "",
        "age_ms": 0,
        "sources": {},
        "sync": None,
    },
    {
        "peer_id": "BR5T6YU-JK8WQ2S-AAAAAAA",
        "key": "08" * 32,
        "name": "living-room-mac",
        "seniority": "let in by workstation",
        "forked_at": None,
        "shattered_at": None,
        "role": "runner",
        "you": False,
        "state": "online",
        "address": "192.168.178.24:7433",
        "age_ms": 0,
        "sources": {"mdns": 4_000, "remembered": 9_000, "tailnet": 31_000},
        "sync": {"behind": 120, "expected": 480},
    },
    {
        "peer_id": "C2DF7GH-MN3XZ4V-AAAAAAA",
        "key": "09" * 32,
        "name": "laptop",
        "seniority": "let in by workstation",
        "forked_at": 7,
        "shattered_at": None,
        "role": "viewer",
        "you": False,
        "state": "offline",
        "address": "[fd7a:115c:a1e0::c001:2b5]:7433",
        "age_ms": 2 * DAY,
        "sources": {"remembered": 2 * DAY},
        "sync": {"behind": 0, "expected": 0},
    },
    {
        "peer_id": "D9SLW3E-PO2IU4R-AAAAAAA",
        "key": "0a" * 32,
        "name": "old-nas",
        "seniority": "",
        "forked_at": None,
        "shattered_at": None,
        "role": "",
        "you": False,
        "state": "removed",
        "address": "",
        "age_ms": 9 * DAY,
        "sources": {},
        "sync": None,
    },
]
SURROUNDINGS: dict[str, Any] = {
    "addresses": ["192.168.178.20", "100.101.7.3"],
    "port": 7433,
    "pairing_port": 7434,
    "dials": [
        {
            "peer_id": "C2DF7GH-MN3XZ4V-AAAAAAA",
            "address": "192.168.178.31:7433",
            "source": "remembered",
            "text": "no route to host",
            "age_ms": 70_000,
        }
    ],
    "skews": [{"peer_id": "BR5T6YU-JK8WQ2S-AAAAAAA", "skew_ms": -7_400}],
    "sources": [
        {"source": "mdns", "state": "4 interfaces, 1 peer seen", "fix": ""},
        {"source": "tailnet", "state": "tailscaled is not running", "fix": "tailscale up"},
    ],
    "strangers": [
        {
            "source": "mdns",
            "peer_id": "E4RT5YU-AS6DF7G-AAAAAAA",
            "name": "attic",
            "address": "192.168.178.77:7433",
            "age_ms": 3_000,
        }
    ],
    "invites": [{"role": "runner", "expires_ms": NOW + 900_000, "left": 1}],
}


def now(name: str, **changes: object) -> dict[str, Any]:
    """What a card under load says of itself, or what `changes` say."""
    return {
        "device_id": f"dev-{name}",
        "name": name,
        "age_ms": 400,
        "memory_bytes": 24 * GIB,
        "free_bytes": 6_442_450_944,
        "utilisation_percent": 97,
        "power_mw": 381_400,
        "power_limit_mw": 450_000,
        "temperature_c": 71,
        "core_mhz": 2520,
        "memory_mhz": 10501,
        "slowed": ["power_cap"],
        "foreign": [{"pid": 4242, "program": "ollama", "memory_bytes": 9_771_050_598}],
        "jobs": [],
        "health": "ok",
        "health_text": "",
        "health_age_ms": 90_000,
        **changes,
    }


SILENT: dict[str, Any] = dict.fromkeys(
    ("free_bytes", "utilisation_percent", "power_mw", "temperature_c", "foreign")
)
RUNNING: dict[str, Any] = {
    "job_id": "job-0003",
    "attempt": 1,
    "memory_bytes": 9 * GIB,
    "tokens_per_s_milli": 139_400,
    "energy_millijoules": 4_100_000,
    "energy_basis": "measured",
}
LOST = "it was there and is gone: fallen off the bus, or unplugged"
PICTURE: dict[str, Any] = {
    "at_ms": NOW,
    "peers": [
        {
            "peer_id": "QZ4M2PA-XK7LD3E-AAAAAAA",
            "name": "workstation",
            "you": True,
            "state": "live",
            "age_ms": 0,
            "why": "",
            "devices": [
                now("workstation", **SILENT | {"memory_bytes": 128 * GIB, "free_bytes": 97 * GIB})
                | {"utilisation_percent": 12, "temperature_c": 48},
                now("workstation-gpu0", jobs=[RUNNING]),
                now("workstation-gpu1", **SILENT, health="lost", health_text=LOST),
            ],
        },
        {
            "peer_id": "BR5T6YU-JK8WQ2S-AAAAAAA",
            "name": "living-room-mac",
            "you": False,
            "state": "live",
            "age_ms": 300,
            "why": "",
            "devices": [
                now("living-room-mac-gpu0", **SILENT | {"free_bytes": 90 * GIB})
                | {"memory_bytes": 128 * GIB, "utilisation_percent": 0},
            ],
        },
        {
            "peer_id": "C2DF7GH-MN3XZ4V-AAAAAAA",
            "name": "laptop",
            "you": False,
            "state": "silent",
            "age_ms": 12 * 60_000,
            "why": "C2DF7GH is not reached: no route to host",
            "devices": [now("laptop-gpu0", memory_bytes=8 * GIB, foreign=[])],
        },
    ],
}


def copy(
    name: str, digit: str, size: int, peer: str, keeper: str, **more: object
) -> dict[str, object]:
    """A model at a peer, "" for this one."""
    files = [{"name": f"{name.rpartition('/')[2]}.gguf", "size_bytes": size}]
    row = {"name": name, "size_bytes": size, "quick_hash": digit * 32, "files": files, "root": ""}
    return {**row, "keeper": keeper, "peer": peer, **more}


QWEN = "qwen3-30b-a3b-instruct-2507-ud-q4_k_xl"
WHERE: dict[str, Any] = {
    "models": [
        copy(QWEN, "a", 17_715_663_200, "", "fetched", path=FILE),
        copy(QWEN, "a", 17_715_663_200, "living-room-mac", "LM Studio", transfer_ms=160_000),
        copy(
            "ollama:llama3.2:1b", "b", 1_321_082_688, "living-room-mac", "Ollama", transfer_ms=4_200
        ),
        copy("ollama:llama3.2:1b", "b", 1_321_082_688, "laptop", "Ollama", transfer_ms=11_900),
        copy("Qwen/Qwen3-8B", "c", 16_381_470_720, "", "Hugging Face", path="/models/hub"),
    ],
    "silent": [{"peer": "old-nas", "text": "old-nas does not answer"}],
    "notes": ["/models/big-00001-of-00003.gguf is not all there: 00002-of-00003 is missing"],
}


def replica(number: int, device: str, **more: object) -> dict[str, object]:
    """A server of a model, as its owner says it stands."""
    row = {"job_id": f"job-{number}", "model": QWEN, "device_id": device, "owner": "ab" * 32}
    stands = {"ready": True, "context": 8192, "busy": 3, "waiting": 2, "slots": 4, "wait_ms": 90}
    return {**row, **stands, "idle_ms": 0, "mtps": 41_300, "engine": "llama.cpp", **more}


def kept(model: str, least: int, most: int, idle_ms: int) -> dict[str, object]:
    """A service."""
    bounds = {"min_replicas": least, "max_replicas": most, "idle_ms": idle_ms}
    return {"service_id": f"s-{model[:4]}", "home": "ab" * 32, "model": model, **bounds}


SERVICES: dict[str, Any] = {
    "url": "http://127.0.0.1:7435",
    "services": [kept(QWEN, 1, 2, 0), kept("llama3.2-1b.gguf", 0, 1, 600_000)],
    "replicas": [replica(10, "dev-rig"), replica(11, "dev-other", ready=False, busy=0, slots=0)],
}


class FixedDaemon:
    """What the daemon of this fleet answers."""

    pid = 4242
    url = "http://127.0.0.1:7420"

    def get(self, path: str) -> Any:
        """The JSON at `path`."""
        answers = {
            "/v1/peers": {"peers": PEERS},
            "/v1/doctor": SURROUNDINGS,
            "/v1/status": {"waiting_for": "", "gateway": {"url": "http://127.0.0.1:7435"}},
            "/v1/services": SERVICES,
            "/v1/telemetry?peer=all&once=1": PICTURE,
            "/v1/models/where": WHERE,
        }
        return answers[path]
