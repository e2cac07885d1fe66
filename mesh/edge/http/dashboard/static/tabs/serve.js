// The one address, the models behind it, and the servers that run.

import { html } from "../vendor/htm-preact.js";
import { post } from "../api.js";
import { Act, Part, Table, useAnswer, useDeviceNames } from "../parts.js";
import { bytes, count, plain, span } from "../show.js";
import { Chat, Start } from "./chat.js";

export function Serve() {
  const answer = useAnswer("/v1/services");
  const models = useAnswer("/v1/models/where", { live: false });
  const usage = useAnswer("/v1/usage?by=model");
  const catalogue = useAnswer("/v1/dashboard/models", { live: false });
  const names = useDeviceNames();
  const url = answer.value && answer.value.url;
  return html`
    <${Part} title="The address" answer=${answer}><${Address} url=${url} /></${Part}>
    <${Part} title="Models kept up" answer=${answer}><${Services} value=${answer.value} again=${answer.again} /></${Part}>
    <section aria-label="Serve a model"><header class="part"><h2>Serve a model</h2></header>
      <${Start} models=${known(models.value, catalogue.value)} again=${answer.again} /></section>
    <${Part} title="Chat" answer=${answer}><${Chat} models=${served(answer.value)} again=${answer.again} /></${Part}>
    <${Part} title="Servers" answer=${answer}><${Replicas} value=${answer.value} names=${names} /></${Part}>
    <${Part} title="Requests" answer=${usage}><${Requests} value=${usage.value} /></${Part}>
    <${Part} title="Models on the fleet's disks" answer=${models}><${Models} value=${models.value} /></${Part}>`;
}

/** Names to serve by: those on disks first, then all that are known. */
function known(here, catalogue) {
  const disks = here ? here.models.map((one) => one.name) : [];
  return [...new Set([...disks, ...(catalogue ? catalogue.models : [])])];
}

/** What answers at the address, by name. */
function served(value) {
  if (!value) return [];
  return [...new Set([...value.replicas, ...value.services].map((one) => one.model))];
}

function Address({ url }) {
  if (!url) return html`<p class="quiet">not open: this daemon serves no models now</p>`;
  const copy = async () => {
    await navigator.clipboard.writeText(`${url}/v1`);
    return "copied";
  };
  return html`<p><code class="address">${url}/v1</code> <${Act} label="Copy" about="Copy the address" run=${copy} /></p>
    <p class="quiet">OpenAI's, Anthropic's and Ollama's forms, on this machine, without a key. What to set in your tool: <code>fleet connect</code>.</p>`;
}

function Services({ value, again }) {
  if (!value) return null;
  const end = (row) => async () => {
    await post(`/v1/services/${encodeURIComponent(row.service_id)}/end`, {});
    again();
    return "ended";
  };
  const columns = [
    ["model", (row) => html`<strong>${row.model}</strong>`],
    ["servers", (row) => `${row.min_replicas} to ${row.max_replicas}`],
    ["leaves when idle for", (row) => (row.idle_ms ? span(row.idle_ms) : "stays")],
    ["actions", (row) => html`<${Act} label="End" about=${`End ${row.model}`} danger run=${end(row)} />`],
  ];
  return html`<${Table} caption="Models kept up" columns=${columns} rows=${value.services} keyOf=${(row) => row.service_id}
    none="None is kept up: serve one below." />`;
}

function Replicas({ value, names }) {
  if (!value) return null;
  const columns = [
    ["model", (row) => html`<strong>${row.model}</strong> <small>${row.engine || "engine unknown"}</small>`],
    ["device", (row) => names.get(row.device_id) || row.device_id || "none yet"],
    ["state", (row) => (row.ready === undefined ? "its owner has not said" : row.ready ? "ready" : "loading")],
    ["in use", (row) => (row.slots ? `${row.busy} of ${row.slots}, ${row.waiting} waiting` : "unknown"), "number"],
    ["context", (row) => (row.context ? count(row.context) : "unknown"), "number"],
    ["tokens/s", (row) => (row.mtps ? html`${(row.mtps / 1000).toFixed(1)} <small>measured, of its last answers</small>` : "unknown"), "number"],
  ];
  return html`<${Table} caption="Servers that run" columns=${columns} rows=${value.replicas} keyOf=${(row) => row.job_id} none="No server runs now." />`;
}

/** What was asked of the fleet's servers until now; tokens are measured. */
function Requests({ value }) {
  if (!value) return null;
  const columns = [
    ["model", (row) => html`<strong>${plain(row.model)}</strong>`],
    ["requests", (row) => count(row.requests), "number"],
    ["tokens read", (row) => html`${count(row.prompt_tokens)} <small>${count(row.cached_tokens)} of them from a cache</small>`, "number"],
    ["tokens written", (row) => count(row.generated_tokens), "number"],
    ["ended badly", (row) => count(row.errors + row.cut), "number"],
  ];
  return html`<${Table} caption="Requests by model" columns=${columns} rows=${value.groups} keyOf=${(row) => row.model}
    none="Nobody asked yet, or none of it is signed: what is used is, a while after it was asked." />`;
}

function Models({ value }) {
  if (!value) return null;
  const columns = [
    ["model", (row) => html`<strong>${plain(row.name)}</strong>`],
    ["size", (row) => bytes(row.size_bytes), "number"],
    ["where", (row) => row.peers.map((peer) => peer || "here").join(", ")],
  ];
  return html`<${Table} caption="Models on disks" columns=${columns} rows=${byContent(value.models)} keyOf=${(row) => row.quick_hash} none="There are none: fleet models --help says how one comes here." />
    ${value.silent.map((one) => html`<p class="warning" key=${one.peer}>${one.peer} does not say: ${one.text.replace(`${one.peer}: `, "")}</p>`)}`;
}

/** One row per content, with everybody who has it. */
function byContent(copies) {
  const found = new Map();
  for (const one of copies) {
    const had = found.get(one.quick_hash);
    found.set(one.quick_hash, { ...one, ...had, peers: [...(had ? had.peers : []), one.peer] });
  }
  return [...found.values()];
}
