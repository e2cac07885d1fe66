// Where a model fits, how fast, for how much: asked anew while a slider moves, the newest wins.

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { post, words } from "../api.js";
import { Part, Table, useAnswer } from "../parts.js";
import { band, bytes, money, span } from "../show.js";

const CONTEXTS = [1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144];
const BATCHES = [1, 2, 4, 8, 16, 32, 64, 128];
const QUANTS = ["", "Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "BF16"];
const SETTLED_MS = 400; // after this without a move, sets of devices are planned too

export function Plan() {
  const names = useAnswer("/v1/dashboard/models", { live: false });
  const here = useAnswer("/v1/models/where", { live: false });
  const [asked, setAsked] = useState({ model: "llama-3.1-8b", context: 3, batch: 0, quant: 0 });
  const plan = usePlan(asked);
  const set = (name) => (event) => setAsked({ ...asked, [name]: name === "model" ? event.target.value : Number(event.target.value) });
  const known = [...(names.value ? names.value.models : []), ...(here.value ? here.value.models.map((one) => one.name) : [])];
  return html`
    <section aria-label="Question"><h2>What to run</h2>
      <form class="question" onSubmit=${(event) => event.preventDefault()}>
        <label>model <input name="model" list="models" value=${asked.model} onInput=${set("model")} autocomplete="off" spellcheck="false" /></label>
        <datalist id="models">${[...new Set(known)].map((name) => html`<option key=${name} value=${name} />`)}</datalist>
        <${Slider} name="context" of=${CONTEXTS} at=${asked.context} set=${set("context")} text=${`${CONTEXTS[asked.context] / 1024}k tokens each`} />
        <${Slider} name="batch" of=${BATCHES} at=${asked.batch} set=${set("batch")} text=${`${BATCHES[asked.batch]} at once`} />
        <${Slider} name="quantisation" of=${QUANTS} at=${asked.quant} set=${set("quant")} text=${QUANTS[asked.quant] || "the best that fits"} />
      </form>
    </section>
    <${Part} title="Where it fits" answer=${plan}><${Placements} plan=${plan.value} /></${Part}>`;
}

function Slider({ name, of, at, set, text }) {
  return html`<label>${name} <output>${text}</output>
    <input type="range" name=${name} min="0" max=${of.length - 1} step="1" value=${at} onInput=${set} aria-valuetext=${text} /></label>`;
}

/** The plan for what is asked now. One request is under way; a newer question ends it. */
function usePlan(asked) {
  const [answer, setAnswer] = useState({ value: null, at: 0, error: "" });
  const number = useRef(0);
  useEffect(() => {
    const mine = ++number.current;
    const stop = new AbortController();
    const ask = async (sets) => {
      try {
        const value = await post("/v1/plan", question(asked, sets), { signal: stop.signal });
        if (mine === number.current) setAnswer({ value, at: Date.now(), error: "" });
      } catch (error) {
        if (mine === number.current && !stop.signal.aborted) setAnswer((had) => ({ ...had, value: had.value || {}, error: words(error) }));
      }
    };
    const first = setTimeout(() => ask(false), 30);
    const settled = setTimeout(() => ask(true), SETTLED_MS);
    return () => {
      clearTimeout(first);
      clearTimeout(settled);
      stop.abort();
    };
  }, [asked.model, asked.context, asked.batch, asked.quant]);
  return answer;
}

function question(asked, sets) {
  const quant = QUANTS[asked.quant];
  const body = { model: asked.model, context: CONTEXTS[asked.context], batch: BATCHES[asked.batch], sets };
  return quant ? { ...body, quant } : body;
}

function Placements({ plan }) {
  if (!plan || !plan.placements) return null;
  const columns = [
    ["device", (row) => html`<strong>${row.device}</strong> <small>${row.engine}, ${row.quant}</small>`],
    ["fit", (row) => html`${row.fit} <small>${bytes(row.footprint.total_bytes)} of ${bytes(row.footprint.free_bytes)} free</small>`],
    ["tokens/s", (row) => band(row.tokens_per_s), "number"],
    ["first token", (row) => band(row.ttft_ms, span), "number"],
    ["cost", (row) => costOf(row), "number"],
    ["basis", (row) => html`<small>${row.basis}</small>`],
  ];
  return html`
    ${plan.notes.map((note) => html`<p class="warning" key=${note}>${note}</p>`)}
    <${Table} caption="Devices it fits on" columns=${columns} rows=${plan.placements} none="It fits on no device as asked."
      keyOf=${(row) => `${row.device_id} ${row.engine} ${row.quant}`} />
    <p class="quiet">The middle of each band, and where eight of ten should lie. Cost is for ${plan.question.prompt_tokens} tokens read and ${plan.question.tokens} written, times the batch.</p>
    ${plan.refusals.length > 0 && html`<h3>Why not elsewhere</h3><ul>${plan.refusals.map(
      (one) => html`<li key=${one.device_id + one.code}><strong>${one.device}</strong>: ${one.text}</li>`,
    )}</ul>`}
    ${plan.ways_out.length > 0 && html`<h3>What would fit</h3><ul>${plan.ways_out.map(
      (one) => html`<li key=${one.text}>${one.text} <code>${one.options.join(" ")}</code></li>`,
    )}</ul>`}`;
}

/** A price that lacks something is a lower bound, and says what it lacks. */
function costOf(row) {
  if (!row.cost_nusd) return "unknown";
  const lacks = row.cost_lacks.length > 0;
  return html`${lacks ? "at least " : ""}${band(row.cost_nusd, money)}${lacks && html` <small>without its ${row.cost_lacks.join(", ")}, unknown</small>`}`;
}
