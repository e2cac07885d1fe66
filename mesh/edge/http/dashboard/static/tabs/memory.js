// A placement's memory, term by term and layer by layer.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { post, words } from "../api.js";
import { bytes } from "../show.js";

const TERMS = {
  weights: "weights_bytes", cache: "kv_bytes", states: "state_bytes", compute: "compute_bytes", output: "output_bytes",
  overhead: "overhead_bytes", projector: "projector_bytes", draft: "draft_bytes", adapters: "adapter_bytes",
};
const MOST = 6; // placements drawn; the table has all
const [WIDTH, HEIGHT, LEFT] = [640, 150, 70];

/** One bar for each placement, as long as its share of what is free; its terms in a line below. */
export function Memory({ rows }) {
  const used = Object.entries(TERMS).filter(([, field]) => rows.some((row) => row.footprint[field] > 0));
  return html`<h3>Memory by term</h3>
    <ul class="plain">${rows.slice(0, MOST).map((row) => html`<li class="memory" key=${`${row.device_id} ${row.engine} ${row.quant}`}>
      <strong>${row.device}</strong> <span class="quiet">${row.engine} ${row.quant}${lies(row)}</span>
      <span class="stack">${used.map(([name, field], at) => html`<i key=${name} class=${`part-${at % 6}`} style=${{ width: `${(100 * row.footprint[field]) / Math.max(row.footprint.total_bytes + row.footprint.host_bytes, row.footprint.free_bytes)}%` }}></i>`)}</span>
      <small>${used.map(([name, field], at) => html`<span class="key" key=${name}><i class=${`swatch part-${at % 6}`}></i>${name} ${bytes(row.footprint[field])}</span>`)}
        ${row.footprint.host_bytes > 0 && html`<span class="key">in RAM beside it ${bytes(row.footprint.host_bytes)}</span>`}
        <span class="key">free there ${bytes(row.footprint.free_bytes)}</span></small></li>`)}</ul>`;
}

/** Where its layers lie, where that is not all on one card. */
function lies(row) {
  if (row.members) return `: ${row.members.map((one) => `layers ${one.first_layer} to ${one.first_layer + one.layers - 1} on ${one.device}`).join(", ")}`;
  const some = row.gpu_layers >= 0 && row.footprint.host_bytes > 0 ? `: ${row.gpu_layers} layers on the card` : "";
  return row.cpu_experts > 0 ? `: experts of ${row.cpu_experts} layers in RAM` : some;
}

/** Weights and cache of each layer of the first placement, asked when it is opened. */
export function Layers({ plan }) {
  const [open, setOpen] = useState(false);
  const [said, setSaid] = useState({ value: null, error: "" });
  const best = plan.placements[0];
  const { model_ref, context, batch } = plan.question;
  useEffect(() => {
    if (!open) return undefined;
    const stop = new AbortController();
    post("/v1/dashboard/layers", { model: model_ref, quant: best.quant, context, batch }, { signal: stop.signal })
      .then((value) => setSaid({ value, error: "" }))
      .catch((error) => stop.signal.aborted || setSaid({ value: null, error: words(error) }));
    return () => stop.abort();
  }, [open, model_ref, best.quant, context, batch]);
  return html`<details open=${open} onToggle=${(event) => setOpen(event.target.open)}><summary>Memory by layer, as ${best.quant}</summary>
    ${said.error && html`<p class="warning" role="status">${said.error}</p>`}
    ${open && said.value && html`<${Drawn} value=${said.value} />`}</details>`;
}

function Drawn({ value }) {
  const { layers } = value;
  const most = Math.max(...layers.map((one) => one.weights_bytes + one.cache_bytes), 1);
  const step = (WIDTH - LEFT) / layers.length;
  const scale = (HEIGHT - 26) / most;
  return html`<figure>
    <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label=${`Memory of each of ${layers.length} layers, ${bytes(most)} at most`}>
      ${[0, 0.5, 1].map((share) => html`<g key=${share}><line class="grid" x1=${LEFT} x2=${WIDTH} y1=${HEIGHT - 20 - share * most * scale} y2=${HEIGHT - 20 - share * most * scale} /><text x=${LEFT - 6} y=${HEIGHT - 16 - share * most * scale} text-anchor="end">${bytes(share * most)}</text></g>`)}
      ${layers.map((one, at) => html`<g key=${at}><title>${`layer ${at}: weights ${bytes(one.weights_bytes)}, cache ${bytes(one.cache_bytes)}`}</title>
        <rect class="part-0" x=${LEFT + at * step} width=${Math.max(1, step * 0.8)} y=${HEIGHT - 20 - one.weights_bytes * scale} height=${one.weights_bytes * scale} />
        <rect class="part-1" x=${LEFT + at * step} width=${Math.max(1, step * 0.8)} y=${HEIGHT - 20 - (one.weights_bytes + one.cache_bytes) * scale} height=${one.cache_bytes * scale} /></g>`)}
      <text x=${LEFT} y=${HEIGHT - 4}>layer 0</text><text x=${WIDTH} y=${HEIGHT - 4} text-anchor="end">layer ${layers.length - 1}</text>
    </svg>
    <figcaption><span class="key"><i class="swatch part-0"></i>weights</span><span class="key"><i class="swatch part-1"></i>cache as f16</span>
      <span class="key">input table ${bytes(value.embedding_bytes)}</span><span class="key">output layer ${bytes(value.output_bytes)}</span></figcaption>
  </figure>`;
}
