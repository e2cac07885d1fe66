"""Making a pod: POST /v2/pods, 201 with the pod. Its name is our label.

The boot script runs as the pod's first process and then sleeps for ever, for a pod lives as long
as that. v2 lets nobody replace an image's entrypoint, so there are two ways in, of which one is
taken: `args` are words for an entrypoint that runs what it is given, or for none; and an entrypoint
in bash (llama.cpp's own takes no words but its own) reads BASH_ENV before anything else, as bash
documents of a shell that is not interactive. The dead-man in the script deletes the pod by the key
that RunPod puts into each pod, which can act on that pod alone.
"""

from __future__ import annotations

import base64
import re
from typing import Final

from providers.rental.boot import PORT, SelfEnd, one_line, script
from providers.rental.contract import Created, Made, Order, Reply, Request, Unclear
from providers.rental.reading import mapping
from providers.runpod.offers import disk_gb, read_offer_id
from providers.runpod.profile import BASE_URL
from providers.runpod.replies import failure

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
END: Final = SelfEnd(
    method="DELETE",
    url=f"{BASE_URL}/v2/pods/$RUNPOD_POD_ID",
    header="Authorization: Bearer $RUNPOD_API_KEY",
)
# The first process, or the one below an init that stands first. Whoever opens a shell there later
# inherits BASH_ENV, too, and must not boot it again.
IS_FIRST: Final = "[ $$ = 1 ] || [ $PPID = 1 ]"
SOURCED: Final = "/tmp/fleet-env.sh"
# `sleep infinity` is not in every busybox.
FOR_EVER: Final = "while :; do sleep 3600; done"


def create_request(order: Order) -> Request | None:
    """The order as a request; None where its offer is none of RunPod's."""
    chosen = read_offer_id(order.offer.offer_id)
    if chosen is None:
        return None
    cloud, count, gpu_id = chosen
    body = {
        "name": order.label,
        "image": order.image,
        "gpu": {"id": gpu_id, "count": count},  # without a count it says that it has none
        "cloud": cloud,
        "disk": disk_gb(order.disk_bytes),
        "ports": [f"{PORT}/tcp"],
        "env": {"PUBLIC_KEY": order.user_public_key, "BASH_ENV": bash_env_of(order)},
        "args": args_of(order),
    }
    return Request(op="create", method="POST", path="/v2/pods", body=body)


def args_of(order: Order) -> str:
    """What the container runs. The script is base64, so that no quote is inside the quotes."""
    return f"sh -c '{_first_process(order)}'"


def bash_env_of(order: Order) -> str:
    """What bash expands before a script, to the name of a file that it then reads."""
    packed = base64.b64encode(f"{_first_process(order)}\n".encode()).decode()
    return f"$({{ {IS_FIRST}; }} && echo {packed} | base64 -d > {SOURCED} && echo {SOURCED})"


def _first_process(order: Order) -> str:
    return f"unset BASH_ENV; {one_line(script(order, END))}; {FOR_EVER}"


def created_from(reply: Reply) -> Created:
    """What became of a create. A 5xx was seen while the pod was made, ran and cost money."""
    if not 200 <= reply.status < 300:
        return failure(reply)
    found = instance_id(mapping(reply.body).get("id"))
    return Made(instance_id=found) if found else Unclear(code="odd_reply")


def instance_id(value: object) -> str:
    """An id that can stand in a path, "" of anything else."""
    fits = isinstance(value, str) and _ID.fullmatch(value) is not None
    return value if fits and isinstance(value, str) else ""
