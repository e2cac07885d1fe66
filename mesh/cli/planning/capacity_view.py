"""How `fleet capacity` looks: a table of one's own engines, one of servers, and what is said."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from mesh.cli.output import clean, gib, say
from mesh.cli.planning.engine_log import log_text
from mesh.cli.planning.models import tokens
from mesh.cli.table import Column, emit, emit_text

if TYPE_CHECKING:
    from mathcore.device import DeviceSpec
    from mathcore.planner.capacity import Capacity
    from mathcore.planner.served.capacity import ServedCapacity
    from mesh.edge.capacity import Question


class Most(Protocol):
    """What engines of both kinds answer."""

    @property
    def device(self) -> "DeviceSpec": ...

    @property
    def engine(self) -> str: ...

    @property
    def quant(self) -> str: ...

    @property
    def quality(self) -> float: ...

    @property
    def context(self) -> int: ...


Answer = TypeVar("Answer", bound=Most)


def show(
    question: "Question", answers: "Sequence[Capacity | ServedCapacity]", smallest: str
) -> None:
    """Each kind of engine's table with what its log prints, then the notes."""
    from mathcore.planner.capacity import Capacity

    batch, context = question.query.batch, question.query.context
    own = [one for one in answers if isinstance(one, Capacity)]
    served = [one for one in answers if not isinstance(one, Capacity)]
    if own:
        emit(columns(own, batch, context), own)
        _show_starts(own)
    if served:
        emit(served_columns(batch, context), served)
        for one in served:
            said = log_text(one.engine, dict(one.log))
            emit_text(f"{one.device.name}, {one.build}: {said}", "  ")
    if smallest:
        emit_text(f"Smallest common hardware that holds it: {smallest}")
    for note in question.notes:
        say()
        emit_text(clean(f"Note: {note}."), "  ")


def _show_starts(found: "Sequence[Capacity]") -> None:
    """What Ollama chooses where nobody does."""
    for answer in found:
        start = answer.chosen
        if start is not None:
            emit_text(
                f"{answer.device.name}: Ollama itself takes a context of {start.num_ctx}, "
                f"{start.num_parallel} at once, batches of {start.num_batch}",
                "  ",
            )


def _device() -> Column[Answer]:
    return Column(title="DEVICE", value=lambda one: one.device.name, least=8)


def _stored(batch: int) -> tuple[Column[Answer], ...]:
    """The weights, what is left of the model, and the longest context."""
    return (
        Column(title="WEIGHTS", value=lambda one: one.quant),
        Column(title="QUALITY", value=lambda one: f"{one.quality:.3f}", right=True, rank=40),
        Column(title=f"CONTEXT x {batch}", value=lambda one: one.context or "", right=True),
    )


def columns(
    found: "Sequence[Capacity]", batch: int, context: int
) -> "tuple[Column[Capacity], ...]":
    """What each device can do with the model, the most of each kind."""
    named = any(answer.quant != answer.best_quant for answer in found)
    return (
        _device(),
        Column(title="FREE", value=_free, right=True, rank=30),
        *_stored(batch),
        Column(
            title=f"SEQUENCES x {tokens(context)}",
            value=lambda answer: answer.sequences or "",
            right=True,
            rank=20,
        ),
        Column(
            title="BEST",
            value=lambda answer: answer.best_quant if named else "",
            rank=10,
            optional=True,
        ),
        Column(
            title="LAYERS ON IT",
            value=beside,
            brief=lambda answer: "as told" if answer.told else beside(answer),
            brief_rank=35,
            least=12,
        ),
    )


def served_columns(batch: int, context: int) -> "tuple[Column[ServedCapacity], ...]":
    """Users, contexts and cards of a server engine."""
    return (
        _device(),
        Column(title="ENGINE", value=lambda one: one.engine, rank=35),
        Column(title="CARDS", value=_cards, rank=30),
        Column(
            title="MAY USE", value=lambda one: f"{gib(one.usable_bytes)} GiB", right=True, rank=25
        ),
        *_stored(batch),
        Column(
            title=f"USERS x {tokens(context)}",
            value=lambda one: one.sequences or "does not fit",
            right=True,
        ),
    )


def _free(answer: "Capacity") -> str:
    device = answer.device
    return f"{device.count} x {gib(device.sure_bytes)} GiB".removeprefix("1 x ")


def beside(answer: "Capacity") -> str:
    """How many layers the device holds at the batch and context asked about, the rest in RAM."""
    layers = answer.gpu_layers
    if answer.told and layers >= 0:
        return f"as told: {_part(answer)}{_experts(answer)}"
    if layers == answer.layers:
        return "all"
    words = [f"all{_experts(answer)}"] if answer.cpu_experts > 0 else []
    if layers >= 0:
        words.append(f"{_part(answer)}, others in RAM")
    return " or ".join(words) or "does not fit"


def _part(answer: "Capacity") -> str:
    layers = answer.gpu_layers
    return "all" if layers == answer.layers else f"{layers} of {answer.layers}"


def _experts(answer: "Capacity") -> str:
    return f", experts of {answer.cpu_experts} in RAM" if answer.cpu_experts > 0 else ""


def _cards(one: "ServedCapacity") -> str:
    """ "4", or "2 x 3" for three stages of two cards that split every layer."""
    ranks = one.cards // one.stages
    return f"{ranks} x {one.stages}" if one.stages > 1 else str(ranks)
