"""Layers that remember a state, in the graph: Mamba, gated delta nets, short convolutions, RWKV.

A state is read from the cache into the graph, carried through the batch and written back.
"""

from mathcore.engines.llamacpp.graph import F32, Builder, GraphLayer


def _recall(b: Builder, elements: int) -> int:
    """This batch's sequences' states, copied out of the cache."""
    state = b.graph.node(elements * b.sequences * F32, [b.copies])
    b.graph.expand(state)
    return state


def _write_back(b: Builder, what: int) -> None:
    b.graph.expand(b.graph.sink([b.graph.view(what, b.graph.size[what])]))


def _convolve(b: Builder, layer: GraphLayer, width: int, state: int, source: int) -> int:
    """The kernel's window over old and new tokens: joined, written back, convolved."""
    graph = b.graph
    kept = (layer.spec.state.conv_width - 1) if layer.spec.state is not None else 0
    source = graph.view(source, graph.size[source])
    joined = graph.node(width * (b.tokens + kept * b.sequences) * F32, [state, source])
    _write_back(b, joined)
    return b.f32(width, [joined])


def mamba1(b: Builder, layer: GraphLayer, x: int) -> int:
    """Mamba: the state update reads a low-rank step, B and C made from its input."""
    graph, state = b.graph, layer.spec.state
    assert state is not None
    inner = state.inner
    conv = graph.view(_recall(b, state.conv_elements))
    both = b.multiply("ssm_in.weight", 2 * inner, [graph.view(x)])
    z = b.part(both, inner)
    x = b.same(b.same(_convolve(b, layer, inner, conv, b.part(both, inner))))
    mixed = b.f32(layer.width("ssm_x.weight"), [x])
    rank = layer.width("ssm_x.weight") - 2 * state.state_size
    dt, bb, cc = (
        b.part(mixed, rank),
        b.part(mixed, state.state_size),
        b.part(mixed, state.state_size),
    )
    if layer.has("ssm_dt_norm.weight"):
        dt, bb, cc = b.norm(dt), b.norm(bb), b.norm(cc)
    else:
        dt = b.copy(dt)
    dt = b.same(b.f32(inner, [dt]))
    y = graph.node(
        (inner * b.tokens + state.state_elements * b.sequences) * F32,
        [graph.view(x), dt, bb, cc, b.copies],
    )
    graph.expand(y)
    _write_back(b, y)
    skip = b.same(x)
    y = graph.over(graph.size[skip], [b.part(y, inner), skip])
    return b.multiply("ssm_out.weight", b.hidden, [b.f32(inner, [b.copy(z), y])])


def mamba2(b: Builder, layer: GraphLayer, x: int) -> int:
    """Mamba 2: one projection makes gate, input, B, C and step."""
    graph, state = b.graph, layer.spec.state
    assert state is not None
    inner = state.inner
    wide = inner + 2 * state.groups * state.state_size
    conv = graph.view(_recall(b, state.conv_elements))
    mixed = graph.view(b.multiply("ssm_in.weight", layer.width("ssm_in.weight"), [x]))
    z, xbc, dt = b.part(mixed, inner), b.part(mixed, wide), b.part(mixed, state.heads)
    xbc = b.same(b.same(_convolve(b, layer, wide, conv, xbc)))
    side = state.groups * state.state_size
    x, bb, cc = b.part(xbc, inner), b.part(xbc, side), b.part(xbc, side)
    dt = b.same(b.copy(dt))
    y = graph.node(
        (inner * b.tokens + state.state_elements * b.sequences) * F32, [x, dt, bb, cc, b.copies]
    )
    graph.expand(y)
    _write_back(b, y)
    skip = b.f32(inner, [x])
    y = graph.over(graph.size[skip], [b.part(y, inner), skip])
    y = b.f32(inner, [b.copy(z), y])
    if layer.has("ssm_norm.weight"):
        y = b.norm(graph.view(y))
    return b.multiply("ssm_out.weight", b.hidden, [graph.view(y)])


def delta_net(b: Builder, layer: GraphLayer, x: int) -> int:
    """Qwen's gated delta net, fused: one operation for the whole recurrence."""
    graph, state = b.graph, layer.spec.state
    assert state is not None
    keys, values = state.groups * state.state_size, state.inner
    wide = values + 2 * keys
    fused = layer.has("ssm_ba.weight")  # Qwen3-Next: beta and alpha in one matrix
    mixed = b.multiply("attn_qkv.weight", wide, [x])
    z = b.multiply("attn_gate.weight", values, [x])
    old = graph.view(_recall(b, state.conv_elements))
    joined = _convolve(b, layer, wide, old, graph.view(mixed))
    memory = graph.view(_recall(b, state.state_elements))
    convolved = b.same(joined)
    q, k, v = b.part(convolved, keys), b.part(convolved, keys), b.part(convolved, values)
    q, k = b.same(b.same(q)), b.same(b.same(k))
    if fused and state.groups != state.heads:
        q = graph.view(b.f32(state.heads * state.state_size, [graph.view(q)]))
        k = graph.view(b.f32(state.heads * state.state_size, [graph.view(k)]))
    if fused:
        ba = graph.view(b.f32(2 * state.heads, [x]))
        beta = graph.view(b.same(b.copy(b.part(ba, state.heads))))
        alpha = b.copy(b.part(ba, state.heads))
    else:
        beta = b.same(graph.view(b.f32(state.heads, [x])))
        alpha = graph.view(b.f32(state.heads, [x]))
    gate = graph.view(b.same(b.same(b.same(alpha))))
    out = graph.node(
        (values * b.tokens + state.state_elements * b.sequences) * F32,
        [q, k, v, gate, beta, memory],
    )
    _write_back(b, out)
    normed = b.norm(b.part(out, values))
    opened = b.same(graph.view(z))
    gated = graph.view(graph.over(graph.size[normed], [normed, opened]))
    return b.multiply("ssm_out.weight", b.hidden, [gated])


def kimi_delta(b: Builder, layer: GraphLayer, x: int) -> int:
    """Kimi's delta attention: three convolutions, a gate per channel."""
    graph, state = b.graph, layer.spec.state
    assert state is not None
    inner = state.inner
    old = _recall(b, state.conv_elements)
    parts: list[int] = []
    for name in ("attn_q.weight", "attn_k.weight", "attn_v.weight"):
        source = graph.view(b.multiply(name, inner, [x]))
        part = b.part(old, inner)
        parts.append(b.same(_convolve(b, layer, inner, part, source)))
    low = b.f32(layer.width("ssm_f_a.weight"), [x])
    gate = graph.view(b.same(b.same(b.same(b.f32(inner, [low])))))
    beta = b.same(graph.view(b.f32(state.heads, [x])))
    memory = graph.view(_recall(b, state.state_elements))
    q, k = b.same(b.same(graph.view(parts[0]))), b.same(b.same(graph.view(parts[1])))
    out = graph.node(
        (inner * b.tokens + state.state_elements * b.sequences) * F32,
        [q, k, graph.view(parts[2]), gate, beta, memory],
    )
    _write_back(b, out)
    plain = b.copy(b.part(out, inner))
    normed = b.norm(graph.view(plain))
    opened = b.f32(inner, [b.f32(layer.width("ssm_g_a.weight"), [graph.view(x)])])
    opened = b.same(graph.view(opened))
    gated = b.copy(graph.over(graph.size[normed], [normed, opened]))
    return b.multiply("attn_output.weight", b.hidden, [gated])


def short_convolution(b: Builder, layer: GraphLayer, x: int) -> int:
    """LFM2: a gated convolution over the last few tokens."""
    graph, state = b.graph, layer.spec.state
    assert state is not None
    both = b.multiply("shortconv.in_proj.weight", 3 * b.hidden, [graph.view(x)])
    first, gate, last = b.part(both, b.hidden), b.part(both, b.hidden), b.part(both, b.hidden)
    inside = b.f32(b.hidden, [first, last])
    old = graph.view(_recall(b, state.conv_elements))
    convolved = _convolve(b, layer, b.hidden, old, inside)
    gated = graph.over(graph.size[convolved], [gate, convolved])
    return b.multiply("shortconv.out_proj.weight", b.hidden, [gated])


def rwkv(b: Builder, layer: GraphLayer, x: int) -> int:
    """RWKV's time mix: five interpolated inputs at once, then the recurrence."""
    graph, state = b.graph, layer.spec.state
    assert state is not None
    shift = graph.view(_recall(b, state.conv_elements))
    before = b.f32(b.hidden, [shift, x])
    change = graph.over(graph.size[before], [before, x])
    mixed = b.f32(5 * b.hidden, [change, x])
    inputs = [b.f32(b.hidden, [b.part(mixed, b.hidden)]) for _ in range(5)]
    memory = graph.view(_recall(b, state.state_elements))
    out = graph.node(
        (b.hidden * b.tokens + state.state_elements * b.sequences) * F32, [*inputs, memory]
    )
    _write_back(b, out)
    return b.f32(b.hidden, [b.copy(b.part(out, b.hidden))])


def remember(b: Builder, layer: GraphLayer, x: int) -> int:
    """The layer with whatever state it has."""
    state = layer.spec.state
    assert state is not None
    if state.kind == "mamba1":
        return mamba1(b, layer, x)
    if state.kind == "mamba2":
        return mamba2(b, layer, x)
    if state.kind == "delta":
        return delta_net(b, layer, x)
    if state.kind == "kda":
        return kimi_delta(b, layer, x)
    return short_convolution(b, layer, x) if state.kind == "conv" else rwkv(b, layer, x)
