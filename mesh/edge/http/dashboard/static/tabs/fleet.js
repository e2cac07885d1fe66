// Every device of every peer, live; peers that are silent with what they said last, and how old.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { followDevices } from "../live.js";
import { Bar, Part, Table, useAnswer, useNow } from "../parts.js";
import { People } from "./people.js";
import { Topology } from "../topology.js";
import { age, bytes, count, money, percent, plain, since, span, watts } from "../show.js";

const DRAWN = (mw) => (mw === null ? "power unknown" : `${watts(mw)} drawn`);
const OFFLINE_MS = 5000; // pictures come each second; so long without one is no hiccup

export function Fleet() {
  const [picture, setPicture] = useState(null);
  const [connected, setConnected] = useState(true);
  const status = useAnswer("/v1/status?running=0");
  const peers = useAnswer("/v1/peers");
  const states = picture ? picture.peers.map((one) => `${one.peer_id} ${one.state}`).join() : "";
  useEffect(() => void (states && peers.again()), [states]); // a link that ends is no event of the ledger
  useEffect(() => followDevices((value) => setPicture({ ...value, came: Date.now() }), setConnected), []);
  return html`
    <${Offline} picture=${picture} connected=${connected} asked=${status.at} />
    <${Part} title="This fleet" answer=${status}><${Summary} status=${status.value} /></${Part}>
    <${Part} title="Devices" answer=${status}><${Devices} picture=${picture} status=${status.value} at=${status.at} /></${Part}>
    <${Part} title="Peers" answer=${peers}>
      ${peers.value && status.value && html`<${Topology} peers=${peers.value.peers} devices=${status.value.devices} />`}
      <${Peers} rows=${peers.value && peers.value.peers} />
    </${Part}>
    ${peers.value && html`<${People} peers=${peers.value.peers} />`}`;
}

/** `asked`: when the last answer came, for a page whose stream never brought a picture. */
function Offline({ picture, connected, asked }) {
  const now = useNow();
  const late = picture && now - picture.came > OFFLINE_MS;
  if (connected && !late) return null;
  const seen = picture ? picture.came : asked;
  const from = seen ? `what you see is from ${age(now - seen)}` : "nothing was seen yet";
  return html`<p class="banner" role="alert">This machine's daemon does not answer: ${from}. Trying again each second.</p>`;
}

function Summary({ status }) {
  if (!status) return null;
  const jobs = Object.entries(status.jobs).map(([name, many]) => `${many} ${name}`).join(", ");
  return html`
    ${status.waiting_for && html`<p class="warning">${status.waiting_for}</p>`}
    <dl class="facts">
      <div><dt>Jobs</dt><dd>${jobs || "none yet"}</dd></div>
      <div><dt>Spent by jobs today</dt><dd>${money(status.cost_today_nusd)} <small>UTC day; known prices alone, see Cost</small></dd></div>
      <div><dt>Ledger</dt><dd>${count(status.events)} events <small>the last ${since(status.last_event_ms)}</small></dd></div>
      <div><dt>This peer</dt><dd>${status.peer_id.slice(0, 7)} <small>whole: <code>${status.peer_id}</code></small></dd></div>
    </dl>`;
}

/** What is registered, each with its live reading where its peer gives one. */
function Devices({ picture, status, at }) {
  const clock = useNow();
  if (!status) return null;
  const readings = new Map();
  for (const peer of picture ? picture.peers : []) {
    for (const device of peer.devices) readings.set(device.device_id, { ...device, by: peer });
  }
  if (!status.devices.length) return html`<p class="quiet">no devices yet: fleet devices add --help</p>`;
  return html`<ul class="cards">${status.devices.map(
    (one) => html`<${Device} key=${one.device_id} device=${one} now=${readings.get(one.device_id)} late=${clock - (readings.has(one.device_id) ? picture.came : at)} />`,
  )}</ul>`;
}

/** `late`: how long ago we were told; ages go on while nobody tells us anything. */
function Device({ device, now, late }) {
  const total = now ? now.memory_bytes : device.memory_bytes;
  const free = now ? now.free_bytes : device.free_bytes;
  const used = total && free !== null ? Math.max(0, total - free) : null;
  const load = now ? now.utilisation_percent : null;
  const silent = now && now.by.state !== "live";
  const said = now ? (silent ? now.by.age_ms : now.age_ms) : device.age_ms;
  const old = said === null ? null : said + Math.max(0, late);
  return html`<li class="card ${silent || (now && late > OFFLINE_MS) ? "stale" : ""}">
    <h3>${plain(device.name)} <span class="state">${silent ? "silent" : device.state}</span></h3>
    <p class="quiet">${device.count > 1 ? `${device.count} × ` : ""}${device.model} · of ${device.peer || "unknown"} · ${device.location}</p>
    <${Bar} label="memory" warns share=${used === null ? null : used / total} text=${`${bytes(used)} of ${bytes(total)}`} />
    <${Bar} label="load" share=${load === null ? null : load / 100} text=${percent(load)} />
    ${now && html`<p class="quiet">${DRAWN(now.power_mw)} · ${now.temperature_c === null ? "temperature unknown" : `${now.temperature_c} °C`}</p>`}
    <${Health} now=${now} silent=${silent} />
    <p class="quiet">${now && old === null ? "not read yet" : now ? `read ${age(old)}, measured` : `said ${age(old)}, ${device.free_basis || "basis unknown"}`}</p>
  </li>`;
}

function Health({ now, silent }) {
  if (!now) return html`<p class="quiet">health unknown: no live reading</p>`;
  if (silent) return html`<p class="warning">silent: ${now.by.why || "no word from its peer"}</p>`;
  if (now.health === "ok") return html`<p class="good">health ok <small>for ${span(now.health_age_ms)}</small></p>`;
  return html`<p class="warning">${now.health}: ${now.health_text} <small>for ${span(now.health_age_ms)}</small></p>`;
}

function Peers({ rows }) {
  if (!rows) return null;
  const columns = [
    ["peer", (row) => html`<strong>${row.name || row.peer_id.slice(0, 7)}</strong>${row.you ? " (this one)" : ""}`],
    ["role", (row) => row.role || "none"],
    ["state", (row) => row.apart || row.state],
    ["seen", (row) => (row.state === "online" ? "now" : age(row.age_ms))],
    ["ledger", (row) => ledgerOf(row)],
  ];
  return html`<${Table} caption="Peers of the fleet" columns=${columns} rows=${rows} keyOf=${(row) => row.key}
    none="This peer is alone. To bring a second machine: fleet invite here, fleet join CODE there." />`;
}

function ledgerOf(row) {
  if (row.you) return "its own";
  if (!row.sync) return "unknown";
  return row.sync.behind ? `${count(row.sync.behind)} events to come` : "in sync";
}
