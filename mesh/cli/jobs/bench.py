"""`fleet bench` and `fleet accuracy`: what was predicted beside what was measured.

A bench is an ordinary job with a prompt of filler; like every job it teaches the planner.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from mesh.cli.client import Daemon, job_url, need_daemon
from mesh.cli.jobs.run import busy_note, end, engine_facts, follow
from mesh.cli.options import SEQUENCES, TOKENS, on_option
from mesh.cli.output import NONE, emit_json, json_option
from mesh.cli.planning.plan import model_ref
from mesh.cli.table import Column, emit, emit_table, emit_text

MAX_REPEATS: Final = 100
AGAIN: Final = "measured again when it is idle, it may be faster"
# The best of two: the first of all runs may find the file on the disk.
REPEATS: Final = 2


@click.command()
@click.argument("model")
@on_option()
@click.option(
    "-b", "--batch", type=SEQUENCES, default=1, show_default=True, help="sequences at once"
)
@click.option("--prompt-tokens", type=TOKENS, help="as for a plan, where not said")
@click.option("--tokens", type=TOKENS, help="as for a plan, where not said")
@click.option(
    "--repeat",
    type=click.IntRange(1, MAX_REPEATS),
    default=REPEATS,
    show_default=True,
    help="how many runs",
)
@json_option
def bench(model: str, repeat: int, output: str, **options: object) -> None:
    """Run MODEL on filler and compare with the plan; later plans have learned from it."""
    from mesh.config import fleet_home

    home = fleet_home()
    asked = {name: value for name, value in options.items() if value is not None}
    rows = bench_rows(need_daemon(home), model, asked, repeat)
    if output == "json":
        emit_json(rows)
    else:
        _show_runs(rows, home)


def bench_rows(
    daemon: Daemon, model: str, asked: Mapping[str, object], repeat: int = REPEATS
) -> list[Mapping[str, Any]]:
    """The finished jobs of so many equal runs, one after the other; lengths as a plan has them."""
    from mesh.api.fields import MAX_CONTEXT
    from mesh.api.requests import lengths

    prompt, tokens = lengths(None, None, MAX_CONTEXT)
    usual: dict[str, object] = {"prompt_tokens": prompt, "tokens": tokens}
    spec = {"model": model_ref(model), **usual, **asked}
    return [_run(daemon, spec, n + 1, repeat) for n in range(repeat)]


def _show_runs(rows: Sequence[Mapping[str, Any]], home: Path) -> None:
    heads = (
        "RUN",
        "DEVICE",
        "QUANT",
        "DECODE TOK/S",
        "PREDICTED",
        "PREFILL TOK/S",
        "PREDICTED",
        "BASIS",
    )
    emit_table(heads, [_row(n, row) for n, row in enumerate(rows, 1)], "")
    for number, row in enumerate(rows, 1):
        note = busy_note(engine_facts(home, str(row["job_id"])))
        if note:
            click.echo(f"run {number}: {note}", err=True)


def _run(daemon: Daemon, spec: Mapping[str, object], number: int, of: int) -> Mapping[str, Any]:
    """One job to its end; its row. Stops with the job's exit code when it fails."""
    job_id = str(daemon.post("/v1/jobs", spec)["job_id"])
    click.echo(f"run {number} of {of}: job {job_id}", err=True)
    said = follow(daemon, job_id, "answer", quiet=True)
    if said["status"] != "succeeded":
        end(job_id, said)
    found: Mapping[str, Any] = daemon.get(job_url(job_id))
    return found


def _row(number: int, job: Mapping[str, Any]) -> list[object]:
    plan = job["plan"] or {}
    return [
        number,
        job["device_id"],
        plan.get("quant", ""),
        _rate(job["throughput_mtps"]),
        _band(plan.get("tokens_per_s_milli")),
        _rate(job["prefill_mtps"]),
        _band(plan.get("prefill_tokens_per_s_milli")),
        plan.get("basis", ""),
    ]


def _rate(milli: int) -> str:
    return f"{milli / 1000:.1f}" if milli else NONE


def _band(milli: Mapping[str, int] | None) -> str:
    """ "21.3 (18.0–24.1)" from thousandths."""
    if not milli or not milli["p50"]:
        return NONE
    return f"{_rate(milli['p50'])} ({_rate(milli['p10'])}–{_rate(milli['p90'])})"


@click.command()
@click.argument("model", required=False)
@json_option
def calibrate(model: str | None, output: str) -> None:
    """Measure this machine's memory and compute anew; with MODEL also an engine that runs it."""
    from mesh.config import fleet_home

    home = fleet_home()
    daemon = need_daemon(home)
    if model is not None:
        from mesh.edge.jobs.admission import weights_path

        weights_path(model_ref(model))  # before seconds of measuring, not after them
    found = daemon.post("/v1/calibrate")
    if output != "json":
        _show_probes(found["events"])
        if found["busy"]:
            emit_text(f"this machine was busy ({found['busy']}): {AGAIN}", err=True)
    runs = bench_rows(daemon, model, {}) if model is not None else []
    if output == "json":
        emit_json({"devices": found["events"], "busy": found["busy"], "runs": runs})
    elif runs:
        click.echo()
        _show_runs(runs, home)


def _show_probes(events: Sequence[Mapping[str, Any]]) -> None:
    from mathcore.units import show_bytes

    rows = [
        [
            facts["name"],
            facts["model"],
            f"{facts['bandwidth_bytes_per_s'] / 1e9:.1f} GB/s",
            facts["bandwidth_basis"],
            f"{facts['flops'] / 1e12:.2f} TFLOPS",
            facts.get("flops_basis", "catalogue"),
            show_bytes(facts["free_bytes"]),
        ]
        for facts in (event["payload"] for event in events)
    ]
    emit_table(
        ("DEVICE", "MODEL", "MEMORY BANDWIDTH", "BASIS", "COMPUTE", "BASIS", "FREE"), rows, ""
    )


@click.command()
@click.option("--jobs", "each", is_flag=True, help="every job instead of the summary")
@json_option
def accuracy(*, each: bool, output: str) -> None:
    """How predictions did: errors and how often the truth lay between p10 and p90."""
    import msgspec

    from mesh.config import fleet_home
    from mesh.edge.store.state import load_state
    from mesh.state.learning.observations import observations, scores

    seen = observations(load_state(fleet_home()))
    if output == "json":
        found = {"jobs": seen, "scores": list(scores(seen))}
        emit_json(msgspec.to_builtins(found))
    elif each:
        emit(OBSERVED, seen, NOTHING)
    else:
        emit_table(
            ("PREDICTED", "JOBS", "MEDIAN ERROR", "P90 ERROR", "INSIDE P10–P90"),
            [
                [
                    s.what,
                    s.count,
                    f"{s.median_percent:.1f} %",
                    f"{s.p90_percent:.1f} %",
                    f"{s.inside_percent:.0f} %",
                ]
                for s in scores(seen)
            ],
            NOTHING,
        )


NOTHING: Final = "no job has measured a speed yet (fleet bench MODEL)"


def _tuple(milli: tuple[int, int, int]) -> str:
    return _band({"p10": milli[0], "p50": milli[1], "p90": milli[2]})


def _median(milli: tuple[int, int, int]) -> str:
    return _rate(milli[1])


OBSERVED: Final[tuple[Column[Any], ...]] = (
    Column(title="JOB", value=lambda one: one.job_id, rank=30),
    Column(title="DEVICE", value=lambda one: one.device_id, least=8),
    Column(title="ENGINE", value=lambda one: one.engine, rank=70),
    Column(title="QUANT", value=lambda one: one.quant, rank=40),
    Column(title="DECODE TOK/S", value=lambda one: _rate(one.decode_mtps), right=True),
    Column(
        title="PREDICTED",
        value=lambda one: _tuple(one.predicted_decode_mtps),
        brief=lambda one: _median(one.predicted_decode_mtps),
        brief_rank=25,
        right=True,
    ),
    Column(title="PREFILL TOK/S", value=lambda one: _rate(one.prefill_mtps), right=True, rank=45),
    Column(
        title="PREFILL PREDICTED",
        value=lambda one: _tuple(one.predicted_prefill_mtps),
        brief=lambda one: _median(one.predicted_prefill_mtps),
        brief_rank=80,
        right=True,
        rank=50,
    ),
    Column(title="BASIS", value=lambda one: one.basis, rank=60, least=12),
)
