// Every event, the newest first, with who signed it; and a check of all of them.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { get, words } from "../api.js";
import { Act, Part, useAnswer } from "../parts.js";
import { count, instant, since } from "../show.js";

const PAGE = 50;
const VERIFY_MS = 120000; // a large ledger takes minutes

export function Ledger() {
  const newest = useAnswer(`/v1/dashboard/events?limit=${PAGE}`);
  const peers = useAnswer("/v1/peers", { live: false });
  const [older, setOlder] = useState([]);
  const [problem, setProblem] = useState("");
  const rows = joined(newest.value ? newest.value.events : [], older);
  const names = new Map((peers.value ? peers.value.peers : []).map((one) => [one.key, one.name]));
  useKept(newest.value, setOlder);
  const more = async () => {
    try {
      const said = await get(`/v1/dashboard/events?limit=${PAGE}&before=${rows[rows.length - 1].cursor}`);
      setOlder(joined(rows, said.events));
      setProblem("");
    } catch (error) {
      setProblem(words(error));
    }
  };
  const least = rows.length ? rows[rows.length - 1].cursor : 1;
  return html`
    <${Part} title="Verify"><p>Every hash, link and signature, checked now: <${Act} label="Verify" run=${verify} /></p></${Part}>
    <${Part} title="Events" answer=${newest}>
      <ol class="events" reversed>${rows.map((row) => html`<${Entry} key=${row.cursor} row=${row} names=${names} />`)}</ol>
      ${problem && html`<p class="warning" role="status">${problem}</p>`}
      ${least > 1 ? html`<button type="button" onClick=${more}>Older</button>` : html`<p class="quiet">That is the first.</p>`}
    </${Part}>`;
}

/** Events that scroll out of the newest page are kept below it. */
function useKept(value, setOlder) {
  useEffect(() => {
    if (value) setOlder((had) => joined(value.events, had));
  }, [value]);
}

/** Newer events before older ones, each once. */
function joined(newer, older) {
  const least = newer.length ? newer[newer.length - 1].cursor : Infinity;
  return [...newer, ...older.filter((row) => row.cursor < least)];
}

async function verify() {
  const said = await get("/v1/verify", { timeout: VERIFY_MS });
  if (said.ok) return `all ${count(said.count)} events are as they were signed`;
  return `${said.findings.length} things are wrong: fleet verify, fleet repair`;
}

function Entry({ row, names }) {
  const who = names.get(row.author) || `key ${row.author.slice(0, 8)}`;
  return html`<li><details>
    <summary><strong>${row.event_type}</strong> <span>${gist(row.payload)}</span>
      <small>signed by ${who}, <time title=${instant(atOf(row))}>${since(atOf(row))}</time> by its own clock</small></summary>
    <pre>${JSON.stringify(row, null, 1)}</pre>
  </details></li>`;
}

/** When its signer's clock said it was; NaN, which is shown as unknown, where that is no time. */
const atOf = (row) => Date.parse(row.timestamp);

/** The one field a person looks for, where there is one. */
function gist(payload) {
  const found = ["text", "label", "name", "model", "job_id", "reason"].map((name) => payload && payload[name]).find((one) => typeof one === "string" && one);
  return found ? found.slice(0, 120) : "";
}
