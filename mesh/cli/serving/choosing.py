"""Which model a conversation is with: one that is there, or one that is kept up from now on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mesh.cli.client import Daemon, find_daemon, need_daemon
from mesh.cli.exits import CANNOT, NOT_FOUND, NOTHING_FITS, Stop, stop
from mesh.cli.output import clean, say
from mesh.cli.planning.plan import model_ref

# A person thinks and types between two questions; after that its memory is somebody else's.
IDLE_MS: Final = 600_000
OLD_DAEMON: Final = "the daemon has no address for models: it is an older version"
NAME_ONE: Final = "fleet chat ./model.gguf, or a name of fleet models"

Models = Mapping[str, bool]  # name -> whether it answers at once


def daemon_for(home: Path, model: str | None) -> Daemon:
    """The daemon, started where none runs and a model was named."""
    found = find_daemon(home)
    if found is not None or model is None:
        return found or need_daemon(home)
    from mesh.cli.machines.daemon import start_detached

    reference = Path(model_ref(model))  # what is not there starts no daemon
    if reference.is_absolute() and not reference.exists():
        stop(NOT_FOUND, f"there is no {clean(reference)}", "check the path")
    started = start_detached(home)
    say(f"no daemon was running: started it at {started.url} (fleet down ends it)", err=True)
    return started


def address(daemon: Daemon) -> str:
    """Where models are asked."""
    url = str((daemon.get("/v1/status").get("gateway") or {}).get("url") or "")
    return url or stop(CANNOT, OLD_DAEMON, "fleet down, then fleet up --detach")


def chosen(daemon: Daemon, url: str, model: str | None) -> tuple[str, bool]:
    """The name to ask for, and whether it answers at once."""
    from mesh.cli.serving.asking import models_at

    models = models_at(url)
    if model is None:
        return only(models)
    known = named(model, models)
    if known:
        return known, models[known]
    return keep_up(daemon, model), False


def only(models: Models) -> tuple[str, bool]:
    """The one that is there, of those that answer at once before others; else which there are."""
    ready = [name for name, loaded in models.items() if loaded]
    for names in (ready, list(models)):
        if len(names) == 1:
            return names[0], models[names[0]]
    if not models:
        stop(NOT_FOUND, "no model is served", NAME_ONE)
    for line in listed(models):
        say(line, err=True)
    raise Stop(NOT_FOUND, f"{len(models)} models are served; say which", "fleet chat NAME")


def listed(models: Models) -> list[str]:
    """A line for each."""
    return [
        f"  {clean(name)}{'' if loaded else '  (loads when asked)'}"
        for name, loaded in sorted(models.items())
    ]


def named(model: str, models: Models) -> str:
    """What a name or a path is called among those that are there; "" where it is not."""
    from mesh.serving.routing import is_called

    if model in models:
        return model
    return next((name for name in sorted(models) if is_called(model, name)), "")


def keep_up(daemon: Daemon, model: str) -> str:
    """Have a model come up whenever it is asked for; its name. A Stop where it fits nowhere.

    Planned first: a name that means nothing must not stay in the ledger.
    """
    reference = model_ref(model)
    plan = daemon.post("/v1/plan", {"model": reference})
    if not plan["placements"]:
        stop(NOTHING_FITS, f"{clean(model)} fits on no device now", f"fleet plan {clean(model)}")
    body = {"spec": {"model": reference}, "min": 0, "max": 1, "idle_ms": IDLE_MS}
    return str(daemon.post("/v1/services", body)["model"])
