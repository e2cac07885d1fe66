"""`fleet run`: a model's answer or a command's output, from submission to its end."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final

import click

from mesh.cli.client import Daemon, job_url, need_daemon
from mesh.cli.exits import (
    CANNOT,
    JOB_EXIT,
    NOT_FOUND,
    NOTHING_FITS,
    UNREACHABLE,
    USAGE,
    Stop,
    nowhere,
    stop,
)
from mesh.cli.jobs.dispatch_options import dispatch_options
from mesh.cli.jobs.standing import tell_standing
from mesh.cli.options import given, plan_options
from mesh.cli.output import clean, emit_json, json_option, number
from mesh.cli.planning.plan import model_ref

STDIN: Final = "-"
LINES_SUFFIX: Final = ".jsonl"
BESIDE_BYTES: Final = 64 << 10  # of a request's body, for what else a job says
FIRST: Final = "say either a MODEL or -- COMMAND…, not both and not neither"


class RunCommand(click.Command):
    """`run MODEL [flags]`, or `run [flags] -- COMMAND…`: what follows `--` is never parsed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep what follows `--` for the job."""
        if "--" in args:
            at = args.index("--")
            ctx.meta["fleet.command"], args = args[at + 1 :], args[:at]
        return super().parse_args(ctx, args)


@click.command(cls=RunCommand)
@click.argument("model", required=False)
@plan_options
@click.option("--prompt", help="what to ask the model; - reads standard input")
@click.option(
    "--input",
    "input_file",
    type=click.Path(path_type=Path),
    help="a file holding it; of a .jsonl each line is asked",
)
@click.option("--label", help="what to call the job; every peer sees it")
@click.option(
    "-e",
    "--env",
    "names",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="set for the command; NAME alone takes the value it has here",
)
@click.option("--env-file", type=click.Path(path_type=Path), help="NAME=VALUE, one to a line")
@click.option("--workdir", metavar="DIR|GIT", help="its files go where the command runs")
@dispatch_options
@click.option("--rent", metavar="24GB..|NAME", help="on a machine rented for it, returned after it")
@click.option("--for", "life", metavar="1h", help="which is rented for so long at most  [1h]")
@click.option("--image", metavar="NAME", help="in this container image  [llama.cpp, CUDA]")
@click.option("--setup", metavar="COMMAND", help="made ready by this command, run there once")
@click.option("-d", "--detach", is_flag=True, help="print the job's id and return")
@json_option
@click.pass_context
def run(
    ctx: click.Context,
    /,
    *,
    model: str | None,
    prompt: str | None,
    input_file: Path | None,
    label: str | None,
    names: tuple[str, ...],
    env_file: Path | None,
    workdir: str | None,
    rent: str | None,
    life: str | None,
    image: str | None,
    setup: str | None,
    detach: bool,
    output: str,
    **options: object,
) -> None:
    """Run MODEL with a prompt, or a command: fleet run -- COMMAND…

    The answer alone goes to standard output, as it comes; the engine's log is in `fleet logs`.
    It runs on this peer's own devices; --on NAME sends it to the device, or to the best one of the
    peer or SSH host, of that name, --on ssh to the best that is reached by SSH alone, --on any to
    the best of the fleet. A model that no card holds runs on several of one machine. A failed job
    ends with 100 (103 cancelled, 104 nothing fits), whatever its own exit code was.
    """
    from mesh.config import fleet_home

    command: list[str] | None = ctx.meta.get("fleet.command")
    if (model is None) == (not command):
        raise click.UsageError(FIRST, ctx)
    spec = given(options) | ({"label": label} if label else {})
    if command:
        _refuse_prompt(ctx, prompt, input_file)
        spec |= {"command": command, "cwd": str(Path.cwd())}
        spec |= {"workdir": _absolute(workdir)} if workdir else {}
        env = (read_env(env_file) if env_file else {}) | _environment(names)
        spec |= {"env": env} if env else {}
    else:
        if names or env_file or workdir:
            raise click.UsageError("a model takes no --env, --env-file or --workdir", ctx)
        spec |= {"model": model_ref(str(model))}
        lines = input_file is not None and input_file.suffix == LINES_SUFFIX
        if lines and prompt is None and "prompt_tokens" not in spec:
            spec |= {"lines": lines_text(input_file)}
        else:
            spec |= {"prompt": _prompt(ctx, prompt, input_file, measured="prompt_tokens" in spec)}
    machine = renting(spec, (rent, life, image, setup), detach=detach)
    daemon = need_daemon(fleet_home())
    with machine(daemon):
        job_id = str(daemon.post("/v1/jobs", spec)["job_id"])
        if detach:
            emit_json({"job_id": job_id}) if output == "json" else click.echo(job_id)
            return
        click.echo(f"job {job_id}{_where(spec)} (Ctrl-C leaves it running)", err=True)
        _to_its_end(daemon, job_id, spec, output)


def renting(
    spec: dict[str, object], asked: tuple[str | None, ...], *, detach: bool
) -> Callable[[Daemon], AbstractContextManager[None]]:
    """The machine that a job asks for, for as long as it runs, by what was said of it: GPU, time,
    image, setup. UsageError where that does not go together."""
    if not any(one is not None for one in asked):
        return lambda _: nullcontext()
    from mesh.cli.clouds.for_job import RentFor, refuse_options, rented

    gpu, life, image, setup = asked
    wanted = RentFor(gpu=gpu, life=life, image=image, setup=setup)
    refuse_options(spec, wanted, detach=detach)
    return lambda daemon: rented(daemon, spec, wanted)


def _to_its_end(daemon: Daemon, job_id: str, spec: Mapping[str, object], output: str) -> None:
    """What it says, as it comes; then how it ended."""
    from mesh.config import fleet_home

    if "lines" in spec:
        follow_lines(daemon, job_id, str(spec["lines"]), output)
        return
    kind = "logs" if "command" in spec else "answer"
    said = follow(daemon, job_id, kind, quiet=output == "json")
    found = daemon.get(job_url(job_id))
    if output == "json":
        emit_json({**found, "answer" if kind == "answer" else "output": said["words"]})
    elif kind == "answer" and said["status"] == "succeeded":
        click.echo(summary(engine_facts(fleet_home(), job_id) | found), err=True)
    end(job_id, said)


def _where(spec: Mapping[str, object]) -> str:
    """ " on this peer's devices", or where it was sent."""
    wanted = spec.get("on")
    if wanted is None:
        return " on this peer's devices"
    if wanted == "ssh":
        return " on the best device that is reached by SSH"
    return " on the best device of the fleet" if wanted == "any" else f" on {wanted}"


def _environment(names: Sequence[str]) -> dict[str, str]:
    """What --env sets: NAME=VALUE, or NAME as it is in the caller's environment."""
    found: dict[str, str] = {}
    for one in names:
        name, given, value = one.partition("=")
        if not given and name not in os.environ:
            raise click.UsageError(f"{name} is not set here; say {name}=VALUE")
        found[name] = value if given else os.environ[name]
    return found


def read_env(path: Path) -> dict[str, str]:
    """The names of a file, NAME=VALUE to a line; "#" begins a comment. Values are taken as they
    are: nothing in them is run or replaced, and quotes around a whole value are taken off."""
    found: dict[str, str] = {}
    for at, line in enumerate(_decoded(_read(path), str(path)).splitlines(), 1):
        text = line.strip().removeprefix("export ")
        if not text or text.startswith("#"):
            continue
        name, given, value = text.partition("=")
        if not given or not name.strip():
            stop(USAGE, f"{path}: line {at} is no NAME=VALUE", "comments begin with #")
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        found[name.strip()] = value
    return found


def _absolute(workdir: str) -> str:
    """A folder by its whole path, for the daemon runs in another one; a repository as it is."""
    return str(Path(workdir).resolve()) if Path(workdir).is_dir() else workdir


def _refuse_prompt(ctx: click.Context, prompt: str | None, input_file: Path | None) -> None:
    if prompt is not None or input_file is not None:
        raise click.UsageError("a command takes no --prompt or --input", ctx)


def _prompt(
    ctx: click.Context, prompt: str | None, input_file: Path | None, *, measured: bool
) -> str:
    """The prompt of --prompt, --input or a pipe; "" to be filled up where only its length is said.

    Never empty by accident: a model asked nothing answers noise.
    """
    if prompt is not None and input_file is not None:
        raise click.UsageError("give --prompt TEXT or --input FILE, not both", ctx)
    if prompt is None and input_file is None and measured:
        return ""
    if measured:
        raise click.UsageError("--prompt-tokens is for runs without a prompt of their own", ctx)
    text = _given_text(ctx, prompt, input_file)
    if not text.strip():
        raise click.UsageError("the prompt is empty; say --prompt TEXT or --input FILE", ctx)
    return text


def _given_text(ctx: click.Context, prompt: str | None, input_file: Path | None) -> str:
    if input_file is not None:
        return _decoded(_read(input_file), str(input_file))
    if prompt is not None and prompt != STDIN:
        return prompt
    if prompt is None and (sys.stdin is None or sys.stdin.isatty()):
        raise click.UsageError("a model needs --prompt TEXT, --input FILE or a pipe", ctx)
    return _decoded(sys.stdin.buffer.read(), "standard input")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        code = NOT_FOUND if isinstance(error, FileNotFoundError) else CANNOT
        stop(code, f"cannot read {path}: {error.strerror}", "check the path")


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        stop(USAGE, f"{name} is not UTF-8 text", "convert it, or give --prompt")


def follow(
    daemon: Daemon, job_id: str, what: str = "logs", *, quiet: bool = False
) -> dict[str, Any]:
    """Print the job's `answer` or `logs` until it ends; how it ended, and its words if `quiet`."""
    words: list[str] = []
    for kind, value in daemon.stream(job_url(job_id, f"/{what}")):
        if kind == "end":
            return {**value, "words": "".join(words)}
        if kind == "standing":
            tell_standing(value, quiet=quiet)
        elif quiet:
            words.append(value["text"])
        else:
            click.echo(value["text"], nl=False)
            sys.stdout.flush()
    raise _daemon_gone(job_id)


def _daemon_gone(job_id: str) -> Stop:
    text = f"the daemon stopped; job {job_id} goes on without it"
    return Stop(UNREACHABLE, text, f"fleet up --detach, then fleet logs -f {job_id}")


def end(job_id: str, said: Mapping[str, Any]) -> None:
    """Stop with the exit code of an ended job; nothing to say where it succeeded."""
    status, reason = said["status"], said.get("reason", "")
    code = NOTHING_FITS if nowhere(reason) else JOB_EXIT[status]
    if code == 0:
        raise click.exceptions.Exit(0)
    why = said.get("text") or reason
    stop(code, f"job {job_id} {status}{f': {why}' if why else ''}", f"fleet job {job_id}")


def summary(job: Mapping[str, Any]) -> str:
    """ "42 tokens, 31.4 tok/s (predicted 29.8–35.0), 1.3 s, $0.0001 · fleet job j-1"."""
    from mathcore.units import show_ms, show_nusd

    rate = number(job, "throughput_mtps")
    parts = [
        f"{job['tokens_generated']} tokens",
        f"{rate / 1000:.1f} tok/s{_predicted(job)}" if rate else "",
        show_ms(number(job, "duration_ms")),
        show_nusd(number(job, "cost_nusd")),
        f"on {clean(job['plan']['device'])}" if job["members"] and job["plan"] else "",
        busy_note(job),
    ]
    return f"{', '.join(part for part in parts if part)} · fleet job {job['job_id']}"


def _predicted(job: Mapping[str, Any]) -> str:
    band = (job["plan"] or {}).get("tokens_per_s_milli")
    if not band or not band["p50"]:
        return ""
    return f" (predicted {band['p10'] / 1000:.1f}–{band['p90'] / 1000:.1f})"


def lines_text(path: Path | None) -> str:
    """The lines of a file, as far as one job takes them; which of them is wrong says the daemon."""
    import json

    from mesh.api.requests import MAX_BODY_BYTES

    assert path is not None
    text = _decoded(_read(path), str(path))
    size = len(json.dumps(text, ensure_ascii=False).encode())
    if size > MAX_BODY_BYTES - BESIDE_BYTES:
        stop(USAGE, f"{path} has {size} bytes as JSON: one job takes a MiB", "split -C 900k FILE")
    return text


def follow_lines(daemon: Daemon, job_id: str, asked: str, output: str) -> None:
    """Print each answer as it comes, and on standard error how many there are."""
    import json

    total = sum(1 for line in asked.split("\n") if line.strip())
    text, done, said = "", 0, dict[str, Any]()
    for kind, value in daemon.stream(job_url(job_id, "/answer")):
        if kind == "end":
            said = {**value, "words": text}
            break
        if kind == "standing":
            tell_standing(value, quiet=output == "json")
            continue
        text += value["text"]
        if output != "json":
            click.echo(value["text"], nl=False)
            sys.stdout.flush()
        before, done = done, text.count("\n")
        if done * 10 // total != before * 10 // total:
            click.echo(f"answered {done} of {total}", err=True)
    if not said:
        raise _daemon_gone(job_id)
    rows = [json.loads(line) for line in text.splitlines()]
    if output == "json":
        emit_json({**daemon.get(job_url(job_id)), "answers": rows})
    refused = sum(1 for row in rows if "error" in row)
    if refused and said["status"] == "succeeded":
        first = next(row for row in rows if "error" in row)
        text = f"{refused} of {total} lines were refused; line {first['line']}: {first['error']}"
        stop(JOB_EXIT["failed"], text, f"the others are answered; fleet job {job_id}")
    end(job_id, said)


def engine_facts(home: Path, job_id: str) -> dict[str, Any]:
    """What the engine wrote of itself beside its log: `cores` and `threads` among it."""
    from providers.durable import read_json

    folders = sorted((home / "jobs" / job_id).glob("*/engine.json"))
    return dict(read_json(folders[-1]) or {}) if folders else {}


def busy_note(job: Mapping[str, Any]) -> str:
    """What to hold against a measured speed: other programs had some of the cores."""
    cores, threads = number(job, "cores"), number(job, "threads")
    return f"the machine was busy: {threads} of {cores} cores idle" if threads < cores else ""
