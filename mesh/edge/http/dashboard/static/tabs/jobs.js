// The queue: what runs, what waits and why, what ended and how; a job's output as it is written.

import { html, useRef, useState } from "../vendor/htm-preact.js";
import { post } from "../api.js";
import { Act, Part, Table, useAnswer } from "../parts.js";
import { Timeline } from "../timeline.js";
import { instant, money, plain, since, span } from "../show.js";
import { Job, predicted } from "./job.js";

const ENDED = ["succeeded", "failed", "cancelled"];
const AT_ONCE = 50; // rows of each table before more are asked for
const DRAWN = 12; // jobs in the picture: the newest

export function Jobs() {
  const [open, setOpen] = useState("");
  const [most, setMost] = useState({ going: AT_ONCE, ended: AT_ONCE });
  const answer = useAnswer(`/v1/jobs?going=${most.going}&ended=${most.ended}`);
  const kept = useRef(null);
  const rows = answer.value ? answer.value.jobs : [];
  const [going, ended] = [rows.filter((row) => !ENDED.includes(row.status)), rows.filter((row) => ENDED.includes(row.status))];
  kept.current = rows.find((row) => row.job_id === open) || kept.current; // newer ones may push it off the page
  const opened = kept.current && kept.current.job_id === open && kept.current;
  const more = (name, shown) => answer.value && answer.value[name] > shown.length && html`<button type="button"
    onClick=${() => setMost({ ...most, [name]: most[name] + AT_ONCE })}>${answer.value[name] - shown.length} more</button>`;
  return html`
    <${Part} title="Running and waiting" answer=${answer}><${Rows} rows=${going} none="No job runs or waits." open=${open} setOpen=${setOpen} />
      ${more("going", going)}</${Part}>
    <${Part} title="Ended" answer=${answer}><${Rows} rows=${ended} none="No job has ended yet." open=${open} setOpen=${setOpen} />
      ${more("ended", ended)}</${Part}>
    <p class="quiet">Costs here are of known prices alone: what they lack is in <a href="#cost">Cost</a>.</p>
    ${opened && html`<${Job} key=${open} row=${opened} close=${() => setOpen("")} />`}
    <${Part} title="When they ran" answer=${answer}><${Timeline} jobs=${rows.slice(0, DRAWN)} now=${answer.at} /></${Part}>`;
}

function Rows({ rows, none, open, setOpen }) {
  const columns = [
    ["job", (row) => html`<strong>${plain(row.label || row.model || row.kind)}</strong> <small>${row.job_id}</small>`],
    ["state", (row) => html`<span class=${`state ${row.status}`}>${row.status}</span> <small>${reasonOf(row)}</small> <small>${predicted(row)}</small>`],
    ["on", (row) => row.devices.join(", ") || "nowhere yet"],
    ["took", (row) => (row.started_ms ? span(row.duration_ms) : "not started"), "number short"],
    ["cost", (row) => costOf(row), "number"],
    ["when", (row) => html`<span title=${instant(row.submitted_ms)}>${since(row.submitted_ms)}</span>`, "short"],
    ["actions", (row) => html`<${Buttons} row=${row} open=${open} setOpen=${setOpen} />`],
  ];
  return html`<${Table} caption="Jobs" columns=${columns} rows=${rows} none=${none} keyOf=${(row) => row.job_id} />`;
}

const reasonOf = (row) => plain(row.waiting || row.text || row.reason || "");

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
  return html`<button type="button" aria-expanded=${showing} aria-label=${`Details of ${row.job_id}`} onClick=${() => setOpen(showing ? "" : row.job_id)}>Details</button>
    ${!ENDED.includes(row.status) && html` <${Act} label="Cancel" about=${`Cancel ${row.job_id}`} danger run=${cancel} />`}`;
}
