"""What a job must be before the ledger holds it: placeable here, loadable, and short enough."""

from dataclasses import replace

import msgspec

from mesh.api.errors import RequestError
from mesh.api.fields import MAX_CONTEXT
from mesh.api.requests import DEFAULT_CONTEXT, JobRequest, lengths
from mesh.api.rows import is_ours, peer_name
from mesh.edge.planning import known_device, source_of
from mesh.state.fleet import DeviceView
from mesh.state.fold import State
from providers.prompt import PromptLength, prompt_length


def admit(state: State, author: str, request: JobRequest) -> JobRequest:
    """The job with its prompt counted; RequestError for one this peer can't run. May take a second.

    Nothing that can be known now is found out by a job that fails later.
    """
    known_device(state, request.on)
    _here(state, author, request.on)
    if request.model is None:
        return request
    path = weights_path(request.model)
    if not request.prompt:
        return _with_room(
            request, PromptLength(tokens=request.prompt_tokens or 0, basis="as asked for")
        )
    return _with_room(request, prompt_length(path, request.prompt))


def own_devices(state: State, author: str) -> dict[str, DeviceView]:
    """The devices on which this peer can start a job."""
    return {
        view.device_id: view
        for view in list(state.devices.values())
        if view.owner == author and not view.hand_described
    }


def own_state(state: State, author: str) -> State:
    """The state as if the fleet had no devices but this peer's: where its jobs can run."""
    return replace(state, devices=own_devices(state, author))


def weights_path(model: str) -> str:
    """The file an engine here can load; RequestError where the reference names none."""
    path = source_of(model).path
    if path is None or not path.endswith(".gguf"):
        raise RequestError(
            "NoWeights",
            f"{model} names a model's shape, not a file with weights",
            "give a GGUF file: fleet run ./model.gguf --prompt TEXT",
        )
    return path


def _here(state: State, author: str, wanted: str | None) -> None:
    """RequestError unless a device of this peer is wanted, or any."""
    named = [d for d in state.devices.values() if wanted in (d.device_id, d.name)]
    own = own_devices(state, author)
    if wanted is None or any(device.device_id in own for device in named):
        return
    names = ", ".join(sorted(view.name for view in own.values()))
    raise RequestError(
        "NotHere",
        _why_not_here(state, named[0]),
        f"leave --on away, or name a device of this peer: {names}" if names else "fleet devices",
    )


def _why_not_here(state: State, device: DeviceView) -> str:
    if device.hand_described:
        return f"{device.name} is described by hand: nothing there could start a job"
    peer = peer_name(state, device.owner)
    if not is_ours(state, device):
        return f"{device.name} belongs to {peer}, which is no member of the fleet any more"
    return (
        f"{device.name} belongs to peer {peer}; jobs run on the peer they are given to until "
        "dispatch between peers exists"
    )


def _with_room(request: JobRequest, prompt: PromptLength) -> JobRequest:
    """The job with its prompt's length, and a context that holds prompt and answer."""
    usual, answer = lengths(None, request.tokens, MAX_CONTEXT)
    need = (prompt.tokens or usual) + answer
    if prompt.tokens and request.context is not None and need > request.context:
        raise RequestError(
            "BadRequest",
            f"the prompt has {prompt.tokens} tokens ({prompt.basis}) and the answer {answer}: "
            f"more than a context of {request.context}",
            f"--context {need}, or fewer --tokens",
        )
    context = request.context or (need if need > DEFAULT_CONTEXT else None)
    return msgspec.structs.replace(request, prompt_tokens=prompt.tokens or None, context=context)
