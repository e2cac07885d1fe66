"""Compute buffers as the logs of real cards print them: a card's, a pipeline of cards', the host's.

The embedding table lies in host memory, so a card is handed its embeddings like every other input
(ggml-backend.cpp, splits). Cards in a pipeline keep four copies of each input, for as many batches
on their way. Equal to the logs of CUDA and Metal to their two decimals (docs/accuracy-device.md).
"""

from dataclasses import dataclass
from typing import final

from mathcore.engines.footprint import ContextShape
from mathcore.engines.llamacpp.allocator import Graph
from mathcore.engines.llamacpp.compute_buffer import Assembly
from mathcore.engines.llamacpp.graph import F32
from mathcore.engines.llamacpp.graph_input import GraphModel, MicroBatch, graph_layers, shortened
from mathcore.engines.llamacpp.memory import LIBRARY, SERVER, cache_groups, micro_batch_of
from mathcore.model.spec import ModelSpec

PIPELINE_COPIES = 4  # GGML_SCHED_MAX_COPIES
# Builds that changed what is allocated. Between the last two no log was seen.
INDEXED_SINCE = 6073  # cells are written by an index (set_rows) from August 2025 on
CELLS_OF_256_SINCE = 6970  # before, cells came in 32s without flash attention
FEW_ROWS_SINCE = 8000  # before, room for the logits of a whole micro batch was kept


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A build of llama.cpp by its number: 5863 is b5863; 0 is the newest known."""

    number: int = 0

    def since(self, number: int) -> bool:
        """Whether it has what that build brought."""
        return self.number == 0 or self.number >= number


NEWEST = Build()


def cell_pad(build: Build, *, flash: bool) -> int:
    """What a build rounds cells up to."""
    return 256 if flash or build.since(CELLS_OF_256_SINCE) else 32


def device_batch(spec: ModelSpec, shape: ContextShape, build: Build) -> MicroBatch:
    """The micro batch a build reserves for on a card; `shape` has the build's cell_pad."""
    late = build.since(FEW_ROWS_SINCE)
    batch = micro_batch_of(cache_groups(spec), shape, SERVER if late else LIBRARY)
    if not late:  # a context shorter than a micro batch makes the batch shorter
        batch.tokens = min(shape.micro_batch, shape.context * shape.sequences)
        batch.rows = batch.tokens
    batch.from_file = True
    batch.mixed = False  # embeddings are put together in host memory
    batch.indexed = build.since(INDEXED_SINCE)
    batch.cast_mask = not late
    return batch


def _part(spec: ModelSpec, low: int, high: int) -> GraphModel:
    """The model as a card with layers low to high sees it."""
    model = GraphModel(spec)
    count = len(spec.layers) - spec.draft_layers
    if (low, high) != (0, count):
        model.layers = shortened(graph_layers(spec, count)[low:high])
    return model


def _card_graph(spec: ModelSpec, batch: MicroBatch, low: int, high: int) -> Graph:
    """The graph of layers low to high; the last card's ends in the logits."""
    model = _part(spec, low, high)
    ends = high >= len(spec.layers) - spec.draft_layers
    made = Assembly(model, batch)
    b = made.b
    x = b.graph.leaf(model.inputs_width * b.tokens * F32)
    b.graph.expand(x)
    if model.inputs_width != model.hidden:
        x = b.part(x, model.hidden)
    if model.streams > 1:
        x = b.f32(model.streams * model.hidden, [x])
    for i, layer in enumerate(model.layers):
        x = made.add_layer(layer, x, last=ends and i == len(model.layers) - 1)
    if ends:
        return made.finish(x)
    b.graph.kept[x] = True
    b.graph.expand(x)
    return b.graph


def card_compute_bytes(
    spec: ModelSpec,
    shape: ContextShape,
    build: Build = NEWEST,
    layers: tuple[int, int] | None = None,
    copies: int = 1,
) -> int:
    """The compute buffer of one card that holds `layers` (all, with the output, by default)."""
    low, high = layers if layers is not None else (0, len(spec.layers) - spec.draft_layers)
    graph = _card_graph(spec, device_batch(spec, shape, build), low, high)
    if copies > 1:
        for t in list(graph.inputs):
            graph.kept[t] = True
            for _ in range(copies - 1):
                graph.inputs.append(graph.leaf(graph.size[t], kept=True))
    return graph.peak_bytes()


def host_compute_bytes(
    spec: ModelSpec, shape: ContextShape, build: Build = NEWEST, copies: int = 1
) -> int:
    """The host's compute buffer beside cards that hold every layer: embeddings, and the inputs."""
    batch = device_batch(spec, shape, build)
    count = len(spec.layers) - spec.draft_layers
    graph = _card_graph(spec, batch, 0, count)
    embeddings = graph.inputs[0]
    size = graph.size[embeddings] + F32 * batch.tokens * copies  # and the tokens themselves
    for t in graph.inputs[1:]:
        size += graph.size[t] * copies
    return size
