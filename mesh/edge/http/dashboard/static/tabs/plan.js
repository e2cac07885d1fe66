// Where a model fits, how fast, for how much: asked anew while a slider moves, the newest wins.

import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../vendor/htm-preact.js";
import { newest, post, words } from "../api.js";
import { Part, Table, useAnswer } from "../parts.js";
import { Layers, Memory } from "./memory.js";
import { band, bytes, money, span } from "../show.js";

const CONTEXTS = [1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144];
const BATCHES = [1, 2, 4, 8, 16, 32, 64, 128];
const QUANTS = ["", "Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "BF16"];
const CACHES = ["", "f16", "q8_0", "q4_0"];
const SPEEDS = [0, 5, 10, 20, 50, 100, 200];
const FIRSTS = [0, 200, 500, 1000, 2000, 5000, 10000];
const PRICES = ["", "0.05", "0.10", "0.25", "0.50", "1.00", "2.00", "5.00"];
const FIRST = { model: "llama-3.1-8b", context: 3, batch: 0, quant: 0, cache: 0, speed: 0, first: 0, price: 0 };
const BEST = 10; // places and refusals drawn at first: while a hand moves, all are drawn anew for each answer
const SETTLED_MS = 400; // after this without a move, what takes longer is planned too

export function Plan() {
  const names = useAnswer("/v1/dashboard/models", { live: false });
  const here = useAnswer("/v1/models/where", { live: false });
  const [asked, setAsked] = useState(FIRST);
  const plan = usePlan(asked);
  const set = (name) => (event) => setAsked({ ...asked, [name]: name === "model" ? event.target.value : Number(event.target.value) });
  const known = useMemo(() => options(names.value, here.value), [names.value, here.value]);
  const places = useMemo(() => html`<${Placements} plan=${plan.value} />`, [plan.value]); // as a slider moves, all stays but the slider
  return html`
    <section aria-label="Question"><h2>What to run</h2>
      <form class="question" onSubmit=${(event) => event.preventDefault()}>
        <div><label for="model">model</label> <input id="model" name="model" list="models" value=${asked.model} onInput=${set("model")} autocomplete="off" spellcheck="false" /></div>
        <datalist id="models">${known}</datalist>
        <${Slider} name="context" of=${CONTEXTS} at=${asked.context} set=${set("context")} text=${`${CONTEXTS[asked.context] / 1024}k tokens each`} />
        <${Slider} name="batch" of=${BATCHES} at=${asked.batch} set=${set("batch")} text=${`${BATCHES[asked.batch]} at once`} />
        <${Slider} name="quantisation" of=${QUANTS} at=${asked.quant} set=${set("quant")} text=${QUANTS[asked.quant] || "the best that fits"} />
        <details class="limits"><summary>Limits</summary>
          <${Slider} name="cache type" of=${CACHES} at=${asked.cache} set=${set("cache")} text=${CACHES[asked.cache] || "as the engine has it"} />
          <${Slider} name="at least" of=${SPEEDS} at=${asked.speed} set=${set("speed")} text=${asked.speed ? `${SPEEDS[asked.speed]} tokens/s` : "any speed"} />
          <${Slider} name="first token within" of=${FIRSTS} at=${asked.first} set=${set("first")} text=${asked.first ? span(FIRSTS[asked.first]) : "any time"} />
          <${Slider} name="at most" of=${PRICES} at=${asked.price} set=${set("price")} text=${asked.price ? `$${PRICES[asked.price]} an hour` : "any price"} />
        </details>
      </form>
    </section>
    <${Part} title="Where it fits" answer=${plan}>${places}</${Part}>`;
}

/** Models known by name, and those on the fleet's disks. */
function options(names, here) {
  const found = [...(names ? names.models : []), ...(here ? here.models.map((one) => one.name) : [])];
  return [...new Set(found)].map((name) => html`<option key=${name} value=${name} />`);
}

function Slider({ name, of, at, set, text }) {
  const id = `slider-${name.replaceAll(" ", "-")}`;
  return html`<div><label for=${id}>${name}</label> <output for=${id}>${text}</output>
    <input type="range" id=${id} name=${name} min="0" max=${of.length - 1} step="1" value=${at} onInput=${set} aria-valuetext=${text} /></div>`;
}

/**
 * The plan for what is asked now; once it has been asked for a while also for sets of devices, and
 * with what would do where nothing does. Each answer has its question with it; one that was refused
 * has no places.
 */
function usePlan(asked) {
  const [answer, setAnswer] = useState({ value: null, at: 0, error: "" });
  const ask = useRef(null);
  if (ask.current === null) {
    ask.current = newest((body, signal) => post("/v1/plan", body, { signal }), (value) => setAnswer({ value, at: Date.now(), error: "" }),
      (error) => setAnswer({ value: {}, at: Date.now(), error: words(error) }));
  }
  useLayoutEffect(() => { // an effect would wait for the next frame
    ask.current(question(asked, false));
    const settled = setTimeout(() => ask.current(question(asked, true), { slow: true }), SETTLED_MS);
    return () => clearTimeout(settled);
  }, Object.values(asked));
  useEffect(() => () => ask.current(null), []);
  return answer;
}

function question(asked, settled) {
  const body = { model: asked.model, context: CONTEXTS[asked.context], batch: BATCHES[asked.batch], sets: settled, ways_out: settled };
  const limits = {
    quant: QUANTS[asked.quant], kv_type: CACHES[asked.cache], min_tps: SPEEDS[asked.speed],
    ttft: asked.first && `${FIRSTS[asked.first]}ms`, max_price: PRICES[asked.price],
  };
  return { ...body, ...Object.fromEntries(Object.entries(limits).filter(([, value]) => value)) };
}

function Placements({ plan }) {
  if (!plan || !plan.placements) return null;
  const columns = [
    ["device", (row) => html`<strong>${row.device}</strong> <small class="whole">${row.engine}</small> <small class="whole">${row.quant}</small>`],
    ["fit", (row) => html`${row.fit} <small>${bytes(row.footprint.total_bytes)} of ${bytes(row.footprint.free_bytes)} free</small>`],
    ["tokens/s", (row) => band(row.tokens_per_s), "number"],
    ["first token", (row) => band(row.ttft_ms, span), "number"],
    ["per job", (row) => costOf(row, 1), "number"],
    ["per million written", (row) => costOf(row, 1e6 / (plan.question.tokens * plan.question.batch)), "number"],
    ["basis", (row) => html`<small>${row.basis}</small>`],
  ];
  return html`
    ${plan.notes.map((note) => html`<p class="warning" key=${note}>${note}</p>`)}
    <${Table} caption="Devices it fits on" columns=${columns} rows=${plan.placements} none="It fits on no device as asked."
      most=${BEST} keyOf=${(row) => `${row.device_id} ${row.engine} ${row.quant}`} />
    <p class="quiet">${plan.question.model}, context ${plan.question.context}, batch ${plan.question.batch}. The middle of each band, and where eight of ten should lie. A job reads ${plan.question.prompt_tokens} tokens and writes ${plan.question.tokens}, times the batch; what a million written costs has its reading in it.</p>
    ${plan.placements.length > 0 && html`<${Memory} rows=${plan.placements} />`}
    ${plan.placements.length > 0 && html`<${Layers} plan=${plan} />`}
    ${plan.refusals.length > 0 && html`<${Refusals} rows=${plan.refusals} />`}
    ${plan.ways_out.length > 0 && html`<h3>What would fit</h3><ul>${plan.ways_out.map(
      (one) => html`<li key=${one.text}>${one.text} <code>${one.options.join(" ")}</code></li>`,
    )}</ul>`}`;
}

function Refusals({ rows }) {
  const [most, setMost] = useState(BEST);
  return html`<h3>Why not elsewhere</h3><ul>${rows.slice(0, most).map(
      (one) => html`<li key=${one.device_id + one.code}><strong>${one.device}</strong>: ${one.text}</li>`,
    )}</ul>
    ${rows.length > most && html`<button type="button" onClick=${() => setMost(rows.length)}>${rows.length - most} more</button>`}`;
}

/** A price that lacks something is a lower bound, and says what it lacks. */
function costOf(row, times) {
  if (!row.cost_nusd) return "unknown";
  const lacks = row.cost_lacks.length > 0;
  return html`${lacks ? "at least " : ""}${band(row.cost_nusd, (nusd) => money(Math.round(nusd * times)))}${lacks && html` <small>without its ${row.cost_lacks.join(", ")}, unknown</small>`}`;
}
