// One job: each step with its time, the files it left, its output as it is written.

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { get, words } from "../api.js";
import { messages } from "../live.js";
import { Act, Part, Table, useAnswer } from "../parts.js";
import { keep, MOST_BYTES } from "../save.js";
import { bytes, instant, plain, span } from "../show.js";

const MOST_TEXT = 200000; // characters of a log kept on the page: the newest

export function Job({ row, close }) {
  const box = useRef(null);
  useEffect(() => box.current.scrollIntoView({ block: "nearest" }), []);
  return html`<div ref=${box}><${Log} id=${row.job_id} close=${close} /><${Steps} row=${row} /><${Files} row=${row} /></div>`;
}

/** What happened when, by the clock of whoever said so. */
function Steps({ row }) {
  const steps = [["submitted", row.submitted_ms], ["sent to a device", row.dispatched_ms], ["started", row.started_ms], [row.status, row.ended_ms]];
  const known = steps.filter(([, ms]) => ms);
  return html`<section aria-label=${`Timeline of ${row.job_id}`}><header class="part"><h2>Timeline of ${row.job_id}</h2></header>
    <ol class="plain steps">${known.map(([name, ms], at) => html`<li key=${name}><strong>${name}</strong> <span>${instant(ms)}</span>
      ${at > 0 && html` <span class="quiet">after ${span(Math.max(0, ms - known[at - 1][1]))}</span>`}</li>`)}</ol>
    ${predicted(row) && html`<p class="quiet">${predicted(row)}</p>`}
  </section>`;
}

/** When it should start, as its home or its device's owner says now, else as was offered. */
export function predicted(row) {
  const now = row.standing;
  if (row.started_ms || row.ended_ms) return "";
  if (now && now.start_p50_ms !== null) return `should start in ${span(now.start_p50_ms)}${now.start_p90_ms !== null ? `, nine of ten times within ${span(now.start_p90_ms)}` : ""}; predicted`;
  if (row.expected && row.expected.start_p50_ms) return `should start ${instant(row.expected.start_p50_ms)}, as offered when it was sent`;
  return "when it starts is not known";
}

function Files({ row }) {
  const answer = useAnswer(`/v1/jobs/${encodeURIComponent(row.job_id)}/files`, { live: false });
  const value = answer.value;
  const columns = [
    ["file", (one) => html`<strong>${plain(one.path)}</strong>`],
    ["size", (one) => bytes(one.size_bytes), "number"],
    ["actions", (one) => html`<${Act} label="Save" about=${`Save ${one.path}`} run=${() => save(row.job_id, one)} />`],
  ];
  return html`<${Part} title=${`Files of ${row.job_id}`} answer=${answer}>
    ${value && !value.kept ? html`<p class="quiet">Its folder is gone from where it ran.</p>`
      : html`<${Table} caption="Files it left" columns=${columns} rows=${value ? value.files : []} keyOf=${(one) => one.path} none="It left no files in a folder of its own." />`}
    ${value && value.more && html`<p class="quiet">There are more than are shown.</p>`}
  </${Part}>`;
}

/** The whole file, part by part. */
async function save(id, file) {
  if (file.size_bytes > MOST_BYTES) throw new Error(`it is over ${MOST_BYTES >> 20} MiB: fleet job ${id} --get PATH`);
  const parts = [];
  let at = 0;
  for (;;) {
    const said = await get(`/v1/jobs/${encodeURIComponent(id)}/file?offset=${at}&path=${encodeURIComponent(file.path)}`);
    const part = Uint8Array.from(atob(said.data), (one) => one.charCodeAt(0));
    parts.push(part);
    at += part.length;
    if (!part.length || at >= said.size || at > MOST_BYTES) break;
  }
  keep(file.path.split("/").pop(), parts);
  return "saved";
}

function Log({ id, close }) {
  const [text, setText] = useState("");
  const [said, setSaid] = useState("reading…");
  const box = useRef(null);
  useEffect(() => {
    let stop = new AbortController();
    const start = () => {
      stop.abort();
      if (document.hidden) return; // a hidden page holds no connection
      stop = new AbortController();
      setText("");
      read(id, stop.signal, (more) => setText((had) => (had + more).slice(-MOST_TEXT)), setSaid);
    };
    document.addEventListener("visibilitychange", start);
    start();
    return () => {
      document.removeEventListener("visibilitychange", start);
      stop.abort();
    };
  }, [id]);
  useEffect(() => {
    if (box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [text]);
  return html`<section aria-label=${`Output of ${id}`}>
    <header class="part"><h2>Output of ${id}</h2><button type="button" onClick=${close}>Close</button></header>
    <p class="quiet" role="status">${said}</p>
    <pre class="log" tabindex="0" ref=${box}>${plain(text)}</pre>
  </section>`;
}

async function read(id, signal, more, say) {
  try {
    for await (const one of messages(`/v1/jobs/${encodeURIComponent(id)}/logs`, signal)) {
      if (one.kind === "message") more(one.data.text);
      if (one.kind === "message") say("as it is written");
      if (one.kind === "standing") say(one.data.waiting || one.data.status);
      if (one.kind === "end") say(`ended: ${one.data.status}${one.data.text ? `, ${one.data.text}` : ""}`);
    }
  } catch (error) {
    if (!signal.aborted) say(words(error));
  }
}
