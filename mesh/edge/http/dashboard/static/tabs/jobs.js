// The queue: what runs, what waits and why, what ended and how; a job's output as it is written.

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { post, words } from "../api.js";
import { messages } from "../live.js";
import { Act, Part, Table, useAnswer } from "../parts.js";
import { instant, money, since, span } from "../show.js";

const ENDED = ["succeeded", "failed", "cancelled"];
const AT_ONCE = 50; // rows of ended jobs shown before more are asked for
const MOST_TEXT = 200000; // characters of a log kept on the page: the newest

export function Jobs() {
  const answer = useAnswer("/v1/jobs");
  const [open, setOpen] = useState("");
  const [most, setMost] = useState(AT_ONCE);
  const rows = answer.value ? answer.value.jobs : [];
  const [going, ended] = [rows.filter((row) => !ENDED.includes(row.status)), rows.filter((row) => ENDED.includes(row.status))];
  const shown = ended.slice(0, most);
  return html`
    <${Part} title="Running and waiting" answer=${answer}><${Rows} rows=${going} none="No job runs or waits." open=${open} setOpen=${setOpen} /></${Part}>
    <${Part} title="Ended" answer=${answer}><${Rows} rows=${shown} none="No job has ended yet." open=${open} setOpen=${setOpen} />
      ${ended.length > most && html`<button type="button" onClick=${() => setMost(most + AT_ONCE)}>${ended.length - most} more</button>`}</${Part}>
    <p class="quiet">Costs here are of known prices alone: what they lack is in <a href="#cost">Cost</a>.</p>
    ${open && html`<${Log} key=${open} id=${open} close=${() => setOpen("")} />`}`;
}

function Rows({ rows, none, open, setOpen }) {
  const columns = [
    ["job", (row) => html`<strong>${row.label || row.model || row.kind}</strong> <small>${row.job_id}</small>`],
    ["state", (row) => html`<span class=${`state ${row.status}`}>${row.status}</span> <small>${reasonOf(row)}</small>`],
    ["on", (row) => row.devices.join(", ") || "nowhere yet"],
    ["took", (row) => (row.started_ms ? span(row.duration_ms) : "not started"), "number"],
    ["cost", (row) => costOf(row), "number"],
    ["when", (row) => html`<span title=${instant(row.submitted_ms)}>${since(row.submitted_ms)}</span>`],
    ["actions", (row) => html`<${Buttons} row=${row} open=${open} setOpen=${setOpen} />`],
  ];
  return html`<${Table} caption="Jobs" columns=${columns} rows=${rows} none=${none} keyOf=${(row) => row.job_id} />`;
}

const reasonOf = (row) => row.waiting || row.text || row.reason || "";

function costOf(row) {
  if (!row.started_ms) return "nothing yet";
  return ENDED.includes(row.status) ? money(row.cost_nusd) : "known at its end";
}

function Buttons({ row, open, setOpen }) {
  const cancel = async () => {
    await post(`/v1/jobs/${encodeURIComponent(row.job_id)}/cancel`, {});
    return "asked to end";
  };
  const showing = open === row.job_id;
  return html`<button type="button" aria-expanded=${showing} aria-label=${`Output of ${row.job_id}`} onClick=${() => setOpen(showing ? "" : row.job_id)}>Output</button>
    ${!ENDED.includes(row.status) && html` <${Act} label="Cancel" about=${`Cancel ${row.job_id}`} danger run=${cancel} />`}`;
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
    <pre class="log" tabindex="0" ref=${box}>${text}</pre>
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
