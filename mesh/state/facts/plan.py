"""What was predicted for a job when it was placed: so that every peer learns from how it went.

Signed bytes hold no floats: rates are in thousandths (`_milli`), the speed model's fractions are
decimal text.
"""

from typing import Annotated

import msgspec

from mesh.state.facts.fact import Fact, Payload, amount, said

# Of RunFact and WorkFact, and what `v` in them would say; absent means 1.
KNOWLEDGE_VERSION = 1
Version = Annotated[
    int | msgspec.UnsetType,
    said("Version of these fields; missing = 1. Who knows another one learns nothing from it"),
]


class Percentiles(Fact, frozen=True, kw_only=True):
    """A prediction with its error bar."""

    p10: Annotated[int, amount("Nine in ten lie above", "as its field")]
    p50: Annotated[int, amount("The median", "as its field")]
    p90: Annotated[int, amount("Nine in ten lie below", "as its field")]


class MemoryFact(Fact, frozen=True, kw_only=True):
    """Bytes a run takes, by term, as predicted."""

    weights_bytes: Annotated[int, amount("Weights on the devices", "B")]
    kv_bytes: Annotated[int, amount("Cache of K and V", "B")]
    state_bytes: Annotated[int, amount("Recurrent state", "B")]
    compute_bytes: Annotated[int, amount("The engine's compute buffers", "B")]
    overhead_bytes: Annotated[int, amount("Driver context and process", "B")]
    output_bytes: Annotated[int, amount("Logits handed to the program", "B")]
    host_bytes: Annotated[int, amount("In the host's RAM beside the devices", "B")]
    total_bytes: Annotated[int, amount("On the devices, all terms but host_bytes", "B")]
    free_bytes: Annotated[int, amount("Free there when it was placed", "B")]
    projector_bytes: Annotated[
        int, amount("A vision tower and what it computes in", "B", since="0.2.0")
    ] = 0
    draft_bytes: Annotated[int, amount("What drafts tokens", "B", since="0.2.0")] = 0
    adapter_bytes: Annotated[int, amount("Adapters", "B", since="0.2.0")] = 0


class MemberFact(Fact, frozen=True, kw_only=True):
    """What one device of several gives to a run."""

    device_id: Annotated[str, said("Which device", since="0.3.0")]
    cards: Annotated[int, amount("Of its accelerators; 0 counts as 1", since="0.3.0")]
    layers: Annotated[
        int, amount("Layers on it, the output layer one more; shared ones count", since="0.3.0")
    ]
    need_bytes: Annotated[int, amount("On those accelerators, all terms", "B", since="0.3.0")]
    first_layer: Annotated[int, amount("The first of its layers, from 0", since="0.3.0")] = 0


class PlanFact(Fact, frozen=True, kw_only=True):
    """The placement that was chosen, `plan` in a job_dispatched."""

    device: Annotated[str, said("Name of the device")]
    device_id: Annotated[str, said("Its id")]
    provider: Annotated[str, said("Its provider")]
    engine: Annotated[str, said("Inference engine", as_text=True)]
    quant: Annotated[str, said("Weight format", as_text=True)]
    kv_type: Annotated[str, said("Type of the cache", as_text=True)]
    cards: Annotated[int, amount("Accelerators used; 0 counts as 1")]
    gpu_layers: Annotated[int, said("Layers on the accelerators; -1 = all")]
    cpu_experts: Annotated[int, amount("Layers whose routed experts stay in RAM")]
    quality_milli: Annotated[int, amount("Quality of the weights, 1000 = as in 16 bits", "1/1000")]
    fit: Annotated[str, said('"fit" or "tight"')]
    footprint: Annotated[MemoryFact, said("Memory, term by term")]
    tokens_per_s_milli: Annotated[Percentiles, said("Generation of the whole batch", "mtokens/s")]
    prefill_tokens_per_s_milli: Annotated[Percentiles, said("Reading prompts", "mtokens/s")]
    ttft_ms: Annotated[Percentiles, said("From loaded to the first token", "ms")]
    duration_ms: Annotated[Percentiles, said("Time to the end", "ms")]
    wait_ms: Annotated[int, amount("Until the device is free", "ms")]
    cost_nusd: Annotated[Percentiles, said("Cost of the job", "nano-USD")]
    basis: Annotated[str, said("Where the speed comes from, for people", as_text=True)]
    terms_ms: Annotated[
        Payload, said("Median time by cause: load, prompt, and a step's terms", "ms")
    ]
    pareto: Annotated[bool, said("Nothing else was at once cheaper, faster and better")]
    run: Annotated[Payload, said("What the speed model was asked, a [run](#run)")]
    work: Annotated[Payload, said("What a token costs on any device, a [work](#work)")]
    model: Annotated[str, said("What the model calls itself", as_text=True)]
    load_ms: Annotated[
        Percentiles | None, said("Of duration_ms, until the engine can answer", "ms", since="0.2.0")
    ] = None
    load_basis: Annotated[
        str, said("Where the loading time comes from, for people", since="0.2.0")
    ] = ""
    answer_ms: Annotated[
        Percentiles | None,
        said("Of duration_ms, from there to the last token", "ms", since="0.2.0"),
    ] = None
    answer_cost_nusd: Annotated[
        Percentiles | None, said("Cost of answer_ms", "nano-USD", since="0.2.0")
    ] = None
    engine_build: Annotated[
        str, said("Release of the engine the figures are for", since="0.2.0")
    ] = ""
    cost_lacks: Annotated[
        tuple[str, ...],
        said('"price", "power": not known, so that costs are lower bounds', since="0.2.0"),
    ] = ()
    members: Annotated[
        tuple[MemberFact, ...],
        said("What each device of a set gives; missing = it runs on one device", since="0.3.0"),
    ] = ()


class RunFact(Fact, frozen=True, kw_only=True, omit_defaults=False):
    """How a model was to be run, `run` in a plan. A field of another type: it teaches nothing."""

    engine: Annotated[str, said("Inference engine")] = "llama.cpp"
    devices: Annotated[int, amount("Accelerators")] = 1
    split: Annotated[
        str, said('"layer" = one after the other, "tensor" = every layer over all')
    ] = "layer"
    batch: Annotated[int, amount("Sequences at once")] = 1
    prompt: Annotated[int, amount("Prompt of each sequence", "tokens")] = 0
    generated: Annotated[int, amount("Generated by each sequence", "tokens")] = 0
    depth: Annotated[str, said("Cached half-way through the answer, decimal", "tokens")] = "0.0"
    bits: Annotated[str, said("Mean size of a weight, decimal", "bit")] = "16.0"
    kv_scale: Annotated[str, said("Size of the cache beside a 16-bit one, decimal")] = "1.0"
    replicas: Annotated[int, amount("Copies of attention, each with its share of the batch")] = 1
    mixed: Annotated[bool, said("New prompts arrive between the steps of others")] = False
    away: Annotated[
        str, said("Share of the weights in the host's RAM, decimal; below 0 = what does not fit")
    ] = "-1.0"
    ram_bandwidth: Annotated[str, said("Of the host, decimal; 0.0 = unknown", "B/s")] = "0.0"
    v: Version = msgspec.UNSET


class WorkFact(Fact, frozen=True, kw_only=True, omit_defaults=False):
    """What one token costs on any device, `work` in a plan. Widths are summed over layers.

    A field of another type, or a missing one without a default: it teaches nothing.
    """

    layers: Annotated[int, amount("Layers")]
    hidden: Annotated[int, amount("Width of the residual stream")]
    total_bytes: Annotated[int, amount("What is loaded", "B")]
    dense_bytes: Annotated[int, amount("Weights read at every step", "B")]
    active: Annotated[int, amount("Parameters one token is multiplied with")]
    expert_bytes: Annotated[int, amount("All routed experts of all layers", "B")] = 0
    experts: Annotated[int, amount("Routed experts of one layer; 0 = dense")] = 0
    experts_used: Annotated[int, amount("Of those, chosen for a token")] = 0
    sparse_layers: Annotated[int, amount("Layers that route")] = 0
    latent_layers: Annotated[int, amount("Layers of latent attention")] = 0
    kv_width: Annotated[int, amount("K and V numbers per token of context")] = 0
    window_width: Annotated[int, amount("kv_width of layers with a sliding window")] = 0
    window: Annotated[int, amount("The longest sliding window; 0 = none", "tokens")] = 0
    state_bytes: Annotated[int, amount("Read and written per token and sequence", "B")] = 0
    query_width: Annotated[int, amount("Heads times the sizes of K and V")] = 0
    window_query_width: Annotated[int, amount("query_width of layers with a window")] = 0
    basis: Annotated[str, said('How the model is known: "tensors", "config" or "size"')] = "tensors"
    v: Version = msgspec.UNSET
