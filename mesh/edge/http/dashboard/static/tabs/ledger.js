// Every event, the newest first, with who signed it; and a check of all of them.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { get, words } from "../api.js";
import { Act, Part, Table, useAnswer } from "../parts.js";
import { keepAnswer } from "../save.js";
import { count, instant, plain, since } from "../show.js";

const PAGE = 50;
const WINDOW = 200; // events on the page at once: a tab that is open for days keeps no more
const VERIFY_MS = 120000; // a large ledger takes minutes

export function Ledger() {
  const newest = useAnswer(`/v1/dashboard/events?limit=${PAGE}`);
  const peers = useAnswer("/v1/peers");
  const [older, setOlder] = useState([]);
  const [back, setBack] = useState(false); // so far back that the newest left the page
  const [problem, setProblem] = useState("");
  const rows = back ? older : joined(newest.value ? newest.value.events : [], older).slice(0, WINDOW);
  const names = new Map((peers.value ? peers.value.peers : []).map((one) => [one.key, one.name]));
  useKept(back ? null : newest.value, setOlder);
  const more = async () => {
    try {
      const said = await get(`/v1/dashboard/events?limit=${PAGE}&before=${rows[rows.length - 1].cursor}`);
      const found = joined(rows, said.events);
      setBack(back || found.length > WINDOW);
      setOlder(found.slice(-WINDOW));
      setProblem("");
    } catch (error) {
      setProblem(words(error));
    }
  };
  const least = rows.length ? rows[rows.length - 1].cursor : 1;
  return html`
    <${Verify} />
    <${Part} title="Forks and removed peers" answer=${peers}><${Trust} rows=${peers.value && peers.value.peers} /></${Part}>
    <${Part} title="Export"><p>Every event with its signature, as <code>fleet import</code> takes them: <${Act} label="Export" run=${exported} /></p></${Part}>
    <${Part} title="Events" answer=${newest}>
      ${back && html`<button type="button" onClick=${() => (setBack(false), setOlder([]))}>Newest</button>`}
      <ol class="events" reversed>${rows.map((row) => html`<${Entry} key=${row.cursor} row=${row} names=${names} />`)}</ol>
      ${problem && html`<p class="warning" role="status">${problem}</p>`}
      ${least > 1 ? html`<button type="button" onClick=${more}>Older</button>` : html`<p class="quiet">That is the first.</p>`}
    </${Part}>`;
}

/** Events that scroll out of the newest page are kept below it. */
function useKept(value, setOlder) {
  useEffect(() => {
    if (value) setOlder((had) => joined(value.events, had).slice(0, WINDOW));
  }, [value]);
}

/** Newer events before older ones, each once; alone where some between them are missing. */
export function joined(newer, older) {
  if (!newer.length) return older;
  const least = newer[newer.length - 1].cursor;
  const rest = older.filter((row) => row.cursor < least);
  return rest.length && rest[0].cursor < least - 1 ? newer : [...newer, ...rest];
}

function Verify() {
  const [found, setFound] = useState([]);
  const verify = async () => {
    const said = await get("/v1/verify", { timeout: VERIFY_MS });
    setFound(said.findings);
    if (said.ok) return `all ${count(said.count)} events are as they were signed`;
    return `${said.findings.length} things are wrong: fleet verify, fleet repair`;
  };
  return html`<${Part} title="Verify"><p>Every hash, link and signature, checked now: <${Act} label="Verify" run=${verify} /></p>
    ${found.length > 0 && html`<ul>${found.slice(0, PAGE).map((one) => html`<li key=${one.author + one.seq + one.text}>event ${one.seq} of key ${one.author.slice(0, 8)}: ${plain(one.text)}</li>`)}</ul>`}</${Part}>`;
}

async function exported() {
  await keepAnswer("/v1/export", "fleet-ledger.jsonl", "fleet export FILE");
  return "saved";
}

/** Keys that signed two histories, and keys that were put out: both stay in the ledger. */
function Trust({ rows }) {
  if (!rows) return null;
  const told = rows.filter((one) => one.forked_at || one.shattered_at || one.state === "removed");
  const columns = [
    ["peer", (one) => html`<strong>${one.name || one.peer_id.slice(0, 7)}</strong> <small>key ${one.key.slice(0, 8)}</small>`],
    ["what", (one) => whatOf(one)],
    ["what counts", (one) => (one.state === "removed" ? "its events up to the one its removal names" : "the history that was kept first, until an admin says which")],
  ];
  return html`<${Table} caption="Forks and removed peers" columns=${columns} rows=${told} keyOf=${(one) => one.key} none="No key signed two histories, and nobody was put out." />`;
}

function whatOf(one) {
  const forked = one.forked_at ? `signed two histories from its event ${count(one.forked_at)} on` : "";
  const shattered = one.shattered_at ? `signed very many histories from its event ${count(one.shattered_at)} on` : "";
  return [one.state === "removed" ? "was put out of the fleet" : "", shattered || forked].filter(Boolean).join("; ");
}

function Entry({ row, names }) {
  const who = names.get(row.author) || `key ${row.author.slice(0, 8)}`;
  const [open, setOpen] = useState(false); // the whole event is written out for whoever looks
  return html`<li><details onToggle=${(event) => setOpen(event.target.open)}>
    <summary><strong>${row.event_type}</strong> <span>${gist(row.payload)}</span>
      <small>signed by ${who}, <time title=${instant(atOf(row))}>${since(atOf(row))}</time> by its own clock</small></summary>
    ${open && html`<pre>${JSON.stringify(row, null, 1)}</pre>`}
  </details></li>`;
}

/** When its signer's clock said it was; NaN, which is shown as unknown, where that is no time. */
const atOf = (row) => Date.parse(row.timestamp);

/** The one field a person looks for, where there is one. */
function gist(payload) {
  const found = ["text", "label", "name", "model", "job_id", "reason"].map((name) => payload && payload[name]).find((one) => typeof one === "string" && one);
  return found ? plain(found.slice(0, 120)) : "";
}
