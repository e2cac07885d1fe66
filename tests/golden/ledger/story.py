"""The story the kept ledger tells: four peers of the old code, without a network, in fixed time.

Like make.py it runs on that code alone.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

from mesh.edge.pairing_book import Pending
from mesh.edge.pairing_desk import Whereabouts
from mesh.edge.store_transfer import parse_line
from mesh.edge.transport_mesh import Mesh

from mesh import node as node_module
from mesh.config import Config
from mesh.edge import inventory
from mesh.edge.identity import Fleet, load_or_create, write_private
from mesh.edge.jobs import effects
from mesh.edge.store import Ledger
from mesh.edge.transport import own_anchor
from mesh.ledger import codec, hlc, signing
from mesh.node import Node
from mesh.policy.decide import decide
from mesh.state.members import ADMIN, MEMBER, RUNNER, VIEWER
from providers.base import Handle, Launch, Outcome, ProviderError
from providers.probe import FoundEngine, Gpu, Host, Machine, Nic

GIB = 1 << 30
DAY_MS = 86_400_000
SEEDS = {name: bytes([number]) * 32 for number, name in
         enumerate(("ana", "ben", "cid", "dan", "elder", "twin"), 1)}  # fmt: skip


class Clock:
    """Moves by 7 ms each time somebody looks, so that every event has its own instant."""

    def __init__(self) -> None:
        self.ms = 1_790_000_000_000  # 2026-09-21

    def __call__(self) -> int:
        self.ms += 7
        return self.ms


CLOCK = Clock()
OUTCOMES: dict[str, Outcome] = {}
BROKEN_SETUPS = {"ana-setup"}


def machine(name: str, cpu: str, ram_gib: int, *gpus: Gpu) -> Machine:
    """A host with a fast link and llama.cpp on its processor and its cards."""
    host = Host(
        hostname=name, os="Linux 6.8", arch="x86_64", cpu_model=cpu, cores=16, threads=32,
        ram_bytes=ram_gib * GIB, ram_free_bytes=(ram_gib - 5) * GIB,
        disk_free_bytes=700_000_000_000, ram_bandwidth_bytes_per_s=61_234_567_890,
        flops=1_200_000_000_000,
        nics=(Nic(name="lo", bits_per_s=0), Nic(name="eth0", bits_per_s=10_000_000_000)),
    )  # fmt: skip
    engines = tuple(
        FoundEngine(engine=engine, program=program, where="", runs=runs)
        for engine, program, runs in (
            ("llama.cpp", "xllamacpp", True), ("llama.cpp", "llama-server", False),
            ("vllm", "vllm", False),
        )
    )  # fmt: skip
    return Machine(host=host, gpus=gpus, engines=engines, notes=())


def gpu(name: str, memory_gib: float, watts: int) -> Gpu:
    size = int(memory_gib * GIB)
    return Gpu(index=0, vendor="", name=name, uuid="GPU-1", memory_bytes=size,
               used_bytes=GIB // 2, free_bytes=size - GIB // 2, unified=False, watts_limit=watts,
               utilisation_percent=3, compute_capability="8.9")  # fmt: skip


MACHINES = {
    "ana": machine("ana-box", "AMD Ryzen 9 7950X 16-Core Processor", 128,
                   gpu("NVIDIA GeForce RTX 4090", 23.99, 450)),
    "ben": machine("ben-box", "Intel(R) Core(TM) i9-13900K", 64,
                   gpu("AMD Radeon RX 7900 XTX", 24, 0), gpu("Novelty GPU 9000", 0, 0)),
}  # fmt: skip
CONFIGS = {
    "ana": {"tariff_nusd_per_kwh": 300_000_000, "host_price_nusd": 2_500_000_000_000,
            "host_lifetime_months": 48, "host_watts": 120},
}  # fmt: skip


class Peer:
    """One peer of the old code: its node, and the mesh around it without a network."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.home = name, folder / name
        self.home.mkdir(mode=0o700)
        (self.home / "identity.key").touch(mode=0o600)
        (self.home / "identity.key").write_bytes(SEEDS[name])
        config = Config(name=name, listen="none", discovery=(), **CONFIGS.get(name, {}))
        self.node = Node(self.home, config, Ledger.open(self.home))
        self.who = load_or_create(self.home)
        self.mesh = Mesh(self.home, config, self.who, self.node, self._never, dict)
        self.mesh._where = Whereabouts(
            addresses=(f"192.168.7.{SEEDS[name][0]}", "fd00::7"), port=7433, pairing_port=7434
        )

    async def _never(self, _: object) -> None:
        raise AssertionError("nothing links")

    @property
    def tls(self) -> str:
        return own_anchor(self.who)[1].hex()

    async def say(self, kind: str, device: str, payload: dict[str, object]) -> None:
        await self.node.emit(kind, device, payload)

    async def step(self, times: int = 1) -> None:
        """The owner loop's turn."""
        for _ in range(times):
            with probing(self.name):
                for command in decide(self.node.state, self.who.author):
                    await self.node._carry_out(command)

    async def run_job(self, spec: dict[str, object], ended: Outcome | None) -> None:
        """Submit, place, start and, with an outcome, end a job."""
        job_id = await self.node.submit(spec)
        await self.step(2)
        if ended is not None:
            CLOCK.ms += ended.duration_ms
            OUTCOMES[job_id] = ended
            await self.step()

    async def announce(self) -> None:
        self.mesh.members_changed()
        await self.mesh._announce()

    async def enter(self, root: str) -> None:
        """What a guest's side of a pairing writes down."""
        await self.node.belong(Fleet(root=root, introducer=root, tls="", role=RUNNER))

    async def take(self, *others: "Peer") -> None:
        """Everything the others hold, as a sync would bring it."""
        for other in others:
            path = self.home / "taken.jsonl"
            other.node._ledger.export(path)
            await self.take_file(path)
            path.unlink()

    async def take_file(self, path: Path) -> None:
        with path.open("rb") as file:
            intake = self.node._ledger.take_in([parse_line(line) for line in file])
        await self.node.admitted(intake.events)
        async with self.node._order:
            self.node._refold_after_s = 0.0
            await self.node._refold()


def outcome(reason: str = "ok", ms: int = 42_000, **changes: object) -> Outcome:
    given: dict[str, object] = {
        "exit_code": 0 if reason == "ok" else 1, "started_ms": 0, "ended_ms": 0, "duration_ms": ms,
        "peak_memory_bytes": 5_700_000_000, "tokens_generated": 0, "prompt_tokens": 0,
        "decode_mtps": 0, "prefill_mtps": 0, "engine_memory": {}, "reason": reason, "text": "",
    }  # fmt: skip
    return Outcome(**(given | changes))


def answered(ms: int, tokens: int, prompt: int, decode: int, prefill: int) -> Outcome:
    memory = {"weights_bytes": 4_920_000_000, "kv_bytes": 1_073_741_824,
              "compute_bytes": 300_000_000, "state_bytes": 0}  # fmt: skip
    return outcome(ms=ms, tokens_generated=tokens, prompt_tokens=prompt, decode_mtps=decode,
                   prefill_mtps=prefill, engine_memory=memory)  # fmt: skip


@contextmanager
def probing(name: str) -> Iterator[None]:
    found = MACHINES.get(name, machine("small", "Some CPU", 8))
    with (
        mock.patch.object(inventory, "probe_machine", return_value=found),
        mock.patch.object(inventory, "measure_flops", return_value=1_543_000_000_000),
    ):
        yield


async def _start(launch: Launch, jobs_dir: Path) -> Handle:
    folder = effects.local.job_dir(jobs_dir, launch.job_id, launch.attempt)
    folder.mkdir(parents=True, exist_ok=True)
    write_private(folder / "runner.json", "{}")
    return Handle(job_dir="", pid=4242, start_ticks=1, boot_id="")


def _launch(job: object, *_: object) -> Launch:
    job_id: str = job.job_id  # type: ignore[attr-defined]
    if job_id in BROKEN_SETUPS:
        raise ProviderError("llama.cpp is not here", "pip install 'fleet-ledger[llamacpp]'")
    return Launch(job_id=job_id, attempt=1, kind="command", argv=("true",))


def fixed() -> ExitStack:
    """The world stands still: clock, randomness, and what running a job would do."""
    stack = ExitStack()
    count = iter(range(10**6))
    for target, name, value in (
        (node_module, "now_ms", CLOCK), (node_module, "_resolvable", lambda _: None),
        (effects.local, "start", _start), (effects, "launch_of", _launch),
        (effects.local, "poll", lambda folder: OUTCOMES.get(folder.parent.name)),
        (effects.local, "adopt", lambda _: None),
    ):  # fmt: skip
        stack.enter_context(mock.patch.object(target, name, value))
    random = mock.patch(
        "secrets.token_bytes", lambda n=32: hashlib.sha256(b"%d" % next(count)).digest()[:n]
    )
    stack.enter_context(random)
    return stack


MODEL = {"model": "llama-3.1-8b", "quant": "Q4_K_M", "tokens": 128, "context": 4096}


async def before_the_fleet(ana: Peer, elder: Peer) -> None:
    """One machine alone, with an older ledger brought along by hand."""
    await elder.node.note("kept by a key that was given up")
    await elder.node.add_device({"name": "attic", "gpu": "GTX 1080 Ti", "watts": 250})
    await elder.take()
    await ana.take(elder)
    with probing("ana"):
        await ana.node._register()
        await ana.node.calibrate()
    await ana.node.note("Grüße from the first machine – ½ done")
    await ana.node.add_device(
        {"name": "rack", "gpu": "A100 80GB", "count": 4, "cores": 64, "network": "25Gbit/s",
         "host": "rack-1", "backends": "vllm,llama.cpp", "location": "cloud", "transport": "api",
         "price": "60000", "lifetime": "36", "watts": 400}
    )  # fmt: skip
    await ana.node.add_device({"name": "mystery", "gpu": "Unheard-of 7", "memory": "24GiB"})
    await ana.node.add_device({"name": "laptop", "gpu": "M3 Max"})
    await ana.node.remove_device("mystery", "removed by hand")


async def jobs_of_ana(ana: Peer) -> None:
    """Every way a job goes."""
    fast = answered(1_731, 256, 1024, 121_500, 6_400_000)
    await ana.run_job(
        MODEL | {"job_id": "ana-chat", "batch": 2, "prompt": "hello", "min_tps": 3.5,
                 "max_cost": "0.50", "objective": "fastest"}, fast
    )  # fmt: skip
    CLOCK.ms += DAY_MS
    await ana.run_job(MODEL | {"job_id": "ana-again", "prompt": "again", "prompt_tokens": 700},
                      answered(2_400, 128, 700, 88_250, 5_100_000))  # fmt: skip
    await ana.run_job({"job_id": "ana-big", "model": "llama-3.3-70b", "quant": "Q4_K_M",
                       "prompt": "x", "kv_type": "q8_0", "max_latency_ms": 900_000},
                      answered(190_000, 256, 512, 1_870, 95_000))  # fmt: skip
    await ana.run_job({"job_id": "ana-moe", "model": "qwen3-30b-a3b", "quant": "Q8_0",
                       "context": 16384, "prompt": "x", "min_quality": 0.5},
                      answered(9_100, 256, 512, 61_003, 812_500))  # fmt: skip
    await ana.run_job({"job_id": "ana-too-big", "model": "deepseek-v3", "quant": "BF16",
                       "prompt": "x"}, None)  # fmt: skip
    CLOCK.ms += 12 * DAY_MS
    await ana.run_job(MODEL | {"job_id": "ana-setup", "prompt": "x"}, None)
    await ana.run_job({"job_id": "ana-command", "command": ["make", "-j8"], "cwd": "/srv/data"},
                      outcome(ms=3_600_000, peak_memory_bytes=912_000_000))  # fmt: skip
    await ana.run_job({"job_id": "ana-exit", "command": ["false"]},
                      outcome("exit", 900, text="exit status 1"))  # fmt: skip
    await ana.run_job(MODEL | {"job_id": "ana-oom", "prompt": "x", "on": "ana-gpu0"},
                      outcome("oom", 5_250, exit_code=-9, text="cudaMalloc failed"))  # fmt: skip
    await cancels(ana)


async def cancels(ana: Peer) -> None:
    """Before it started, while it ran, and too late."""
    await ana.node.submit({"job_id": "ana-unstarted", "command": ["sleep", "9"]})
    await ana.node.cancel("ana-unstarted")
    await ana.step()
    await ana.run_job({"job_id": "ana-stopped", "command": ["sleep", "99"]}, None)
    await ana.node.cancel("ana-stopped")
    OUTCOMES["ana-stopped"] = outcome("cancelled", 61_000, exit_code=-15, text="stopped")
    await ana.step()
    await ana.run_job({"job_id": "ana-too-late", "command": ["true"]}, None)
    await ana.node.cancel("ana-too-late")
    OUTCOMES["ana-too-late"] = outcome(ms=80)
    await ana.step()


async def the_fleet(ana: Peer, ben: Peer, cid: Peer, dan: Peer) -> None:
    """Founding, inviting, letting in, renaming, putting out, coming back."""
    await ana.mesh.desk.invite(RUNNER, 600_000, 2)
    await ana.mesh.desk.grant(ben.who.author, "ben", RUNNER, ben.tls, "192.168.7.2", 7433)
    asked = Pending(key=cid.who.author, name="ana", tls=cid.tls, address="192.168.7.3", port=0,
                    asked_ms=CLOCK())  # fmt: skip
    ana.mesh.book.ask(asked, CLOCK())
    await ana.mesh.desk.accept("ana", MEMBER)
    await ana.mesh.desk.grant(dan.who.author, "dan", VIEWER, dan.tls, "", 0)
    await ana.announce()
    ana.mesh.sightings.remember(ben.who.peer_id, ("192.168.7.2", 7433), CLOCK())
    ana.mesh.sightings.add_given(("10.9.8.7", 7433))
    for one in (ben, cid, dan):
        await one.enter(ana.who.author)
        await one.take(ana)
        await one.announce()
    await cid.mesh.desk.rename("ana-2", "Cid's laptop")
    await cid.node.submit(MODEL | {"job_id": "cid-wish", "prompt": "please"})
    await dan.node.note("a viewer's note does not count")
    await ana.take(ben, cid, dan)
    await ana.mesh.desk.rename("ben", "workshop")
    await ana.mesh.desk.remove("cid-s-laptop", "sold")
    await cid.node.note("signed after the removal")
    await cid.node.submit({"job_id": "cid-late", "command": ["true"]})
    await ana.mesh.desk.remove("dan", "left")
    await ana.mesh.desk.grant(dan.who.author, "dan", ADMIN, dan.tls, "", 0)
    await dan.take(ana)


async def jobs_of_ben(ben: Peer, ana: Peer) -> None:
    with probing("ben"):
        await ben.node._register()
    await ben.run_job(MODEL | {"job_id": "ben-chat", "prompt": "hello"},
                      answered(2_950, 128, 512, 71_900, 2_250_000))  # fmt: skip
    await ben.say("device_removed", "dev-rack", {"reason": "not his to remove"})


async def of_a_newer_peer(ana: Peer, ben: Peer) -> None:
    """Types, fields and a version of the envelope that nobody here knows."""
    await ana.say("rental_offered", "dev-rack", {"until_ms": 1, "per_hour_nusd": 1_000_000_000})
    await ben.say("budget_set", "", {"month_nusd": 5})
    device = {"name": "rented", "kind": "gpu", "model": "RTX 5090", "count": 2,
              "memory_bytes": 32 * GIB, "free_bytes": 31 * GIB, "free_basis": "measured",
              "hourly_nusd": 890_000_000, "resale_nusd": 7, "temperature_c": 61,
              "engines": ["vllm", "sglang"], "described_by": "offer", "ecc": True}  # fmt: skip
    await ben.say("device_registered", "dev-rented", device)
    job = {"job_id": "ben-rented"}
    await ben.say("job_submitted", "dev-rented", job | {"kind": "model", "model": "m", "batch": 4})
    plan = {"engine": "vllm", "quant": "BF16", "colour": "red", "run": {"speculative": "1.5"}}
    await ben.say("job_dispatched", "dev-rented", job | {"owner": ana.who.author, "plan": plan})
    await ben.say("job_started", "dev-rented", job | {"node": 3})
    await ben.say("job_completed", "dev-rented", job | {
        "throughput_mtps": 1_000, "tokens_generated": 400, "actual_duration_ms": 60_000,
        "actual_cost_nusd": 29_666_667, "carbon_g": 12})  # fmt: skip
    ledger = ana.node._ledger
    head = ledger.tip(ana.who.author)
    assert head is not None
    stamp = hlc.Stamp(CLOCK(), 0)
    body = codec.encode({
        "author": ana.who.author, "device_id": "", "event_type": "note_added", "v": 2,
        "hlc": hlc.render(stamp), "payload": {"text": "version 2", "mood": "good"},
        "prev": head.hash, "seq": head.seq + 1, "timestamp": hlc.timestamp(stamp.ms),
        "scope": "fleet"})  # fmt: skip
    intake = ledger.take_in([(signing.seal(ana.who.seed, body), body)])
    await ana.node.admitted(intake.events)


async def whole(folder: Path) -> Path:
    """The ledger of a fleet of four; the home of its root."""
    peers = {name: Peer(folder, name) for name in ("ana", "ben", "cid", "dan", "elder")}
    ana, ben, cid, dan, elder = peers.values()
    await before_the_fleet(ana, elder)
    await jobs_of_ana(ana)
    await the_fleet(ana, ben, cid, dan)
    CLOCK.ms += DAY_MS
    await ben.take(ana)
    await jobs_of_ben(ben, ana)
    await of_a_newer_peer(ana, ben)
    await ana.run_job(MODEL | {"job_id": "ana-runs", "prompt": "still at it"}, None)
    await ana.node.submit(MODEL | {"job_id": "ana-queued", "prompt": "x", "quant": "F16"})
    await ana.node.submit({"job_id": "ana-waits", "command": ["date"]})
    await ben.take(ana)
    await ben.node.cancel("ana-waits")  # somebody else's: it counts
    await ana.take(ben, cid, dan)
    for one in peers.values():
        one.mesh.sightings.flush()
        one.node.close()
    return ana.home
