"""What a job must be before the ledger holds it: placeable here, loadable, and short enough."""

from pathlib import Path

import msgspec

from mathcore.quant.families import FAMILIES
from mesh.api.errors import RequestError
from mesh.api.fields import MAX_CONTEXT
from mesh.api.jobs import JobRequest
from mesh.api.lines import longest, parse_lines
from mesh.api.requests import DEFAULT_CONTEXT, lengths
from mesh.api.rows import peer_name
from mesh.edge.dispatch.candidates import ANY, SSH, called, usable
from mesh.edge.planning import source_of
from mesh.state.fleet import DeviceView
from mesh.state.state import State
from providers.prompt import PromptLength, prompt_length

MAX_NAMED = 5  # devices in one hint; fleet devices lists all


def admit(state: State, author: str, request: JobRequest) -> JobRequest:
    """The job with its prompt counted; RequestError for one this peer can't run. May take a second.

    Nothing that can be known now is found out by a job that fails later.
    """
    _somewhere(state, author, request.on)
    if request.model is None:
        return request
    path = weights_path(request.model, request.engine)
    if request.lines:
        return _with_lines(path, request)
    if not request.prompt:
        return _with_room(
            request, PromptLength(tokens=request.prompt_tokens or 0, basis="as asked for")
        )
    return _with_room(request, prompt_length(path, request.prompt))


def weights_path(model: str, engine: str | None = None) -> str:
    """What an engine here loads: a GGUF file, or the folder of a model in safetensors.

    RequestError where the reference names nothing that this engine, or llama.cpp, can load.
    """
    folder = _folder_of(model)
    reads_gguf = FAMILIES.get(engine or "", "gguf") == "gguf"
    if folder is not None:
        if not reads_gguf:
            return str(folder)
        others = " or ".join(name for name, family in FAMILIES.items() if family != "gguf")
        text = f"{model} is a folder of safetensors, and {engine or 'llama.cpp'} reads GGUF files"
        raise RequestError("NoWeights", text, f"say --engine {others}")
    path = source_of(model).path
    if path is None or not path.endswith(".gguf"):
        raise RequestError(
            "NoWeights",
            f"{model} names a model's shape, not a file with weights",
            "give a GGUF file: fleet run ./model.gguf --prompt TEXT",
        )
    if not reads_gguf:
        text = f"{engine} reads a folder of safetensors, and {model} is a GGUF file"
        raise RequestError("NoWeights", text, "name such a folder, or say --engine llama.cpp")
    return path


def _folder_of(model: str) -> Path | None:
    """The folder a reference names, where it holds a model in safetensors."""
    folder = Path(model).parent if Path(model).name == "config.json" else Path(model)
    try:
        here = (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))
    except (OSError, ValueError):
        return None
    return folder.resolve() if here else None


def _somewhere(state: State, author: str, wanted: str | None) -> None:
    """RequestError unless a device that can start jobs is wanted."""
    if usable(state, author, wanted or ""):
        return
    named = [one for one in state.devices.values() if wanted in called(state, one)]
    if wanted == SSH:
        raise RequestError("NotHere", "no host is reached by SSH alone", "fleet ssh add user@host")
    if wanted and not named and wanted != ANY:
        text = f"no device, peer or host is called {wanted!r}"
        raise RequestError("NotFound", text, "fleet devices lists them", 404)
    why = _why_not(state, named[0]) if named else "no device of this peer runs jobs"
    others = ", ".join(sorted(one.name for one in usable(state, author, ANY).values())[:MAX_NAMED])
    raise RequestError("NotHere", why, f"--on any, or one of: {others}" if others else "fleet up")


def _why_not(state: State, device: DeviceView) -> str:
    if device.hand_described:
        return f"{device.name} is described by hand: nothing there could start a job"
    peer = peer_name(state, device.owner)
    return f"{device.name} belongs to {peer}, which is no member of the fleet any more"


def _with_lines(path: str, request: JobRequest) -> JobRequest:
    """The job with its longest line counted, which must fit, as must the longest answer asked for.

    What a chat's template adds is not counted: an engine refuses a line that it makes too long.
    """
    lines = parse_lines(request.lines)
    counted = prompt_length(path, longest(lines).words)
    said = [line.max_tokens for _, line in lines if line.max_tokens is not None]
    if len(said) < len(lines):
        said.append(lengths(None, request.tokens, MAX_CONTEXT)[1])
    return _with_room(msgspec.structs.replace(request, tokens=max(said)), counted)


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
