"""The walk through Fleet Ledger that README promises, on real llama.cpp, in a temporary home."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.support.tiny_gguf import write_tiny_gguf

TOKENS = 64


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


class Demo:
    """Runs `fleet` as a person would, in one temporary home."""

    def __init__(self, folder: Path) -> None:
        self.model = folder / "demo-25m.gguf"
        # Prices of the example: a $1,200 machine written off over five years, $0.15 a kWh, 65 W.
        prices = {
            "FLEET_HOST_PRICE_NUSD": "1200000000000",
            "FLEET_TARIFF_NUSD_PER_KWH": "150000000",
            "FLEET_HOST_WATTS": "65",
            # A demonstration stays on this machine.
            "FLEET_LISTEN": "127.0.0.1",
            "FLEET_DISCOVERY": "",
            "FLEET_MESH_PORT": "0",
            "COLUMNS": str(shutil.get_terminal_size().columns),  # its output goes through us
        }
        self.env = os.environ | {"FLEET_HOME": str(folder / "home")} | prices

    def fleet(self, *words: str, show: bool = True) -> str:
        if show:
            shown = [word.replace(str(self.model), self.model.name) for word in words]
            print("$", shlex.join(["fleet", *shown]), flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "mesh", *words], env=self.env, text=True, stdout=subprocess.PIPE
        )
        if show:
            print(done.stdout, end="", flush=True)
        if done.returncode:
            raise SystemExit(f"demo: fleet {words[0]} ended with {done.returncode}")
        return done.stdout

    def run(self) -> None:
        say("A daemon on loopback, in a home of its own")
        self.fleet("up", "--detach")
        try:
            self.walk()
        finally:
            self.fleet("down")

    def walk(self) -> None:
        say("A small model: 8 layers, 25 million random weights, 51 MB")
        write_tiny_gguf(self.model, layers=8, hidden=512, ffn=1536, heads=8, kv_heads=2)
        self.fleet("devices")
        say("Will it fit, how fast, what will it cost?")
        options = (str(self.model), "--context", "2048", "--tokens", str(TOKENS))
        self.fleet("plan", *options)
        say("Run it on real llama.cpp")
        self.fleet("run", *options, "--prompt", "Once upon a time")
        job = self.newest_job()
        self.compare(job)
        say("What it cost")
        self.fleet("cost", "--by", "day")
        say("Every event, signed and chained")
        self.fleet("events", "-n", "6")
        self.fleet("verify")

    def newest_job(self) -> dict[str, Any]:
        """The demo's job, which has ended well: `fleet run` waits and hands on its end."""
        rows = json.loads(self.fleet("ps", "-a", "-o", "json", show=False))
        job: dict[str, Any] = json.loads(
            self.fleet("job", rows[0]["job_id"], "-o", "json", show=False)
        )
        return job

    def compare(self, job: dict[str, Any]) -> None:
        plan, memory = job["plan"], job["engine_memory"]
        speed = plan["tokens_per_s_milli"]
        print(f"              {'predicted':>28}  {'measured':>14}")
        band = f"{speed['p50'] / 1000:.0f} ({speed['p10'] / 1000:.0f}-{speed['p90'] / 1000:.0f})"
        print(f"tokens per s  {band:>28}  {job['throughput_mtps'] / 1000:>14.0f}")
        cost = f"${plan['cost_nusd']['p50'] / 1e9:.9f}"
        print(f"cost          {cost:>28}  {'$' + format(job['cost_nusd'] / 1e9, '.9f'):>14}")
        for term in ("weights_bytes", "kv_bytes", "compute_bytes"):
            said, was = plan["footprint"][term], memory.get(term, 0)
            print(f"{term:<13} {said:>28,}  {was:>14,}")
        total = plan["footprint"]["total_bytes"]
        print(f"peak memory   {total:>28,}  {job['peak_memory_bytes']:>14,}")
        print("  predicted: with what the engine itself may take; measured: resident pages at most")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="fleet-demo-") as folder:
        Demo(Path(folder)).run()
