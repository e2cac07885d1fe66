"""`fleet bench` and `fleet accuracy`: what was predicted beside what was measured.

A bench is an ordinary job with a prompt of filler; like every job it teaches the planner.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from mesh.cli.client import Daemon, job_url, need_daemon
from mesh.cli.exits import JOB_EXIT, stop
from mesh.cli.options import SEQUENCES, on_option
from mesh.cli.options import TOKENS as TOKEN_COUNT
from mesh.cli.output import NONE, emit_json, json_option
from mesh.cli.planning.plan import model_ref
from mesh.cli.table import Column, emit, emit_table

# llama-bench's usual pair: long enough to settle, short enough to repeat.
PROMPT_TOKENS: Final = 512
TOKENS: Final = 128
REPEATS_MOST: Final = 100


@click.command()
@click.argument("model")
@on_option()
@click.option(
    "-b", "--batch", type=SEQUENCES, default=1, show_default=True, help="sequences at once"
)
@click.option(
    "--prompt-tokens",
    type=TOKEN_COUNT,
    default=PROMPT_TOKENS,
    show_default=True,
    help="tokens in the prompt",
)
@click.option(
    "--tokens", type=TOKEN_COUNT, default=TOKENS, show_default=True, help="tokens to generate"
)
@click.option(
    "--repeat",
    type=click.IntRange(1, REPEATS_MOST),
    default=2,
    show_default=True,
    help="how many runs",
)
@json_option
def bench(
    model: str,
    on: str | None,
    batch: int,
    prompt_tokens: int,
    tokens: int,
    repeat: int,
    output: str,
) -> None:
    """Run MODEL on filler and compare with the plan; later plans have learned from it."""
    from mesh.config import fleet_home

    rows = bench_rows(need_daemon(fleet_home()), model, on, batch, prompt_tokens, tokens, repeat)
    if output == "json":
        emit_json(rows)
    else:
        _show_runs(rows)


def bench_rows(
    daemon: Daemon,
    model: str,
    on: str | None = None,
    batch: int = 1,
    prompt_tokens: int = PROMPT_TOKENS,
    tokens: int = TOKENS,
    repeat: int = 2,
) -> list[Mapping[str, Any]]:
    """The finished jobs of so many equal runs, one after the other."""
    spec: dict[str, object] = {
        "model": model_ref(model),
        "batch": batch,
        "prompt_tokens": prompt_tokens,
        "tokens": tokens,
        "context": prompt_tokens + tokens,
    }
    if on is not None:
        spec["on"] = on
    return [_run(daemon, spec, n + 1, repeat) for n in range(repeat)]


def _show_runs(rows: Sequence[Mapping[str, Any]]) -> None:
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


def _run(daemon: Daemon, spec: Mapping[str, object], number: int, of: int) -> Mapping[str, Any]:
    """One job to its end; its row. Stops with the job's exit code when it fails."""
    job_id = str(daemon.post("/v1/jobs", spec)["job_id"])
    click.echo(f"run {number} of {of}: job {job_id}", err=True)
    for kind, value in daemon.stream(job_url(job_id, "/logs")):
        if kind == "end" and value["status"] != "succeeded":
            stop(
                JOB_EXIT[value["status"]],
                f"job {job_id} {value['status']}: {value.get('reason', '')}",
                f"fleet job {job_id}",
            )
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

    daemon = need_daemon(fleet_home())
    events = daemon.post("/v1/calibrate")["events"]
    if output != "json":
        _show_probes(events)
    runs = bench_rows(daemon, model) if model is not None else []
    if output == "json":
        emit_json({"devices": events, "runs": runs})
    elif runs:
        click.echo()
        _show_runs(runs)


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
def accuracy(each: bool, output: str) -> None:
    """How predictions did: errors and how often the truth lay between p10 and p90."""
    import msgspec

    from mesh.config import fleet_home
    from mesh.edge.store.state import load_state
    from mesh.state.observations import observations, scores

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
