"""The most devices can do with a model: one question, put to each under the engine it names; and
what each of a model's layers takes on any."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, final

from mathcore.device import DeviceSpec
from mathcore.model.cache_size import layer_cache_bytes
from mathcore.model.spec import SpecError
from mathcore.planner.capacity import ENGINES as OWN
from mathcore.planner.capacity import Capacity, capacity
from mathcore.planner.query import Query
from mathcore.planner.refusals import question_notes
from mathcore.planner.served.capacity import ServedCapacity, served_capacity
from mathcore.planner.ways_out import HARDWARE
from mathcore.quant.ladder import weights_of
from mesh.api.engine_flags import SERVERS, knowing
from mesh.api.fields import refuse, unknown_field
from mesh.api.most import Row, capacity_row, parse_capacity, served_row
from mesh.api.requests import PlanRequest, parse_plan
from mesh.edge.planning import as_told, asked_devices, query_of, what_ifs
from mesh.state.state import State

HELP: Final = "fleet capacity --help"
OF_LAYERS: Final = ("model", "quant", "context", "batch")
Answer = Capacity | ServedCapacity


@final
class Question:
    """One question; `notes` say what is counted, assumed or left out in all answers."""

    def __init__(self, request: PlanRequest) -> None:
        # Engines that may be taken: those that know every option named.
        self.engines = knowing(request) or (*OWN, *SERVERS)
        if request.engine:
            self.engines = (request.engine,)
        self.query, self.notes = query_of(request)

    def answers(self, devices: Sequence[DeviceSpec]) -> list[Answer]:
        """One a device, in their order; RequestError for what a device or the model cannot be."""
        return [self._answer(device) for device in devices]

    def _engine_on(self, device: DeviceSpec) -> str:
        """The first of the engines the device runs, else the first there is."""
        here = (name for name in self.engines if name in device.engines)
        return next(here, self.engines[0])

    def _answer(self, device: DeviceSpec) -> Answer:
        query = replace(self.query, engine=self._engine_on(device))
        try:
            return served_capacity(query, device) if _served(query) else capacity(query, device)
        except SpecError as error:
            refuse(f"{error.field}: {error.text}", HELP)

    def smallest(self) -> str | None:
        """The name of the smallest common hardware that holds what is asked, or None."""
        for name in HARDWARE:
            devices, _ = as_told(self.query, what_ifs([name]))
            for device in devices.values():
                if self._engine_on(device) not in device.engines:
                    continue
                found = self._answer(device)
                if found.sequences >= self.query.batch and found.best_quant:
                    return name
        return None


def _served(query: Query) -> bool:
    return query.engine in SERVERS


def answers_of(
    state: Callable[[], State],
    request: PlanRequest,
    named: Sequence[str] = (),
    live: Sequence[DeviceSpec] = (),
) -> tuple[Question, list[Answer]]:
    """The question, and the answers of the devices asked about."""
    question = Question(request)
    devices, notes = asked_devices(state, request, named, question.engines, live)
    told, assumed = as_told(question.query, {one.device_id: one for one in devices})
    said = question_notes(question.query, speeds=False)
    question.notes = (*notes, *said, *question.notes, *assumed)
    return question, question.answers(list(told.values()))


def rows_of(question: Question, answers: Sequence[Answer]) -> list[Row]:
    """The answers as JSON, each with the notes: what a command and a route give alike."""
    return [
        {
            **(
                capacity_row(one, question.query)
                if isinstance(one, Capacity)
                else served_row(one, question.query)
            ),
            "notes": list(question.notes),
        }
        for one in answers
    ]


def capacity_query(
    state: State, given: Mapping[str, object], live: Sequence[DeviceSpec] = ()
) -> Row:
    """The JSON for a question over every device in `state`; bad ones raise RequestError."""
    request = parse_capacity(given)
    named = () if request.on is None else (request.on,)
    question, answers = answers_of(lambda: state, request, named, live)
    return {"capacities": rows_of(question, answers)}


def layer_query(given: Mapping[str, object]) -> Row:
    """Bytes of each layer's weights at a quantisation, and of its cache at f16 without any engine's
    padding, for all sequences; and of what is in no layer. RequestError names a wrong field."""
    for name in given:
        if name not in OF_LAYERS:
            unknown_field(name, OF_LAYERS, "the dashboard asks this")
    query, _ = query_of(parse_plan(given))
    weights = None if query.quant is None else weights_of(query.model, query.quant)
    if weights is None:
        refuse(f"quant: the model has no weights as {query.quant}", "as a placement names it")
    caches = [query.batch * layer_cache_bytes(one, query.context) for one in query.model.layers]
    rows = zip(weights.layer_bytes, caches, strict=True)
    return {
        "layers": [{"weights_bytes": weight, "cache_bytes": cache} for weight, cache in rows],
        "embedding_bytes": weights.embedding_bytes,
        "output_bytes": 0 if weights.tied else weights.output_bytes,
        "other_bytes": weights.other_bytes,
    }
