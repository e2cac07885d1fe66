// What was spent: used by jobs, idle, not watched; what nobody knows the price of is said, not 0.

import { html, useState } from "../vendor/htm-preact.js";
import { Bars } from "../bars.js";
import { Bar, Part, Table, useAnswer, useDeviceNames } from "../parts.js";
import { Prices } from "./prices.js";
import { money, plain, since, span, UNKNOWN } from "../show.js";

const BY = ["day", "month", "device", "model", "user", "job", "key", "kind"];
const PARTS = { used: "total_cost_nusd", idle: "idle_nusd", "not watched": "unknown_nusd" };
const LACKS = { used: "used_unknown_ms", idle: "idle_unknown_ms", "not watched": "unknown_unknown_ms" };
const STACKED = ["owned, used", "cloud, used", "idle", "not watched"];
const DAYS = 31;

export function Cost() {
  const days = useAnswer("/v1/cost?by=day");
  const [by, setBy] = useState("device");
  const groups = useAnswer(`/v1/cost?by=${by}`, { live: by !== "job" }); // of each job alone no sums are kept
  const budgets = useAnswer("/v1/budgets");
  const names = useDeviceNames();
  return html`
    <${Part} title="By day" answer=${days}><${Days} value=${days.value} /></${Part}>
    <label class="choice">add up by <select value=${by} onChange=${(event) => setBy(event.target.value)}>${BY.map((one) => html`<option key=${one} value=${one}>${one}</option>`)}</select></label>
    <${Part} title=${`By ${by}`} answer=${groups}><${Groups} value=${groups.value} names=${names} /></${Part}>
    <${Part} title="Budgets" answer=${budgets}><${Budgets} value=${budgets.value} /></${Part}>
    <${Prices} />`;
}

function Days({ value }) {
  if (!value) return null;
  const rows = value.groups.slice(-DAYS).map((row) => ({ label: row.period.slice(5), parts: stackedOf(row) }));
  return html`
    <${Bars} title="Cost by day" rows=${rows} names=${STACKED} shown=${money} />
    <dl class="facts">
      ${Object.keys(PARTS).map((name) => html`<div key=${name}><dt>${name}</dt><dd><${Sum} row=${value} name=${name} /></dd></div>`)}
      <div><dt>in all</dt><dd>${total(value)}</dd></div>
    </dl>
    <p class="quiet">Days of ${value.zone}. Basis: ${value.basis || UNKNOWN}${value.sources.length ? `, from ${value.sources.join(", ")}` : ""}; the oldest price is from ${since(value.oldest_ms)}.</p>
    ${value.unknown_ms > 0 && html`<p class="quiet">For ${span(value.unknown_ms)} of device time part of the price is unknown. <code>fleet rates show</code> says what is missing.</p>`}`;
}

/** What was used of own devices and of rented ones, and what nobody used. */
function stackedOf(row) {
  const used = (rented) => row.devices.filter((one) => one.rented === rented).reduce((sum, one) => sum + (one.cost_nusd || 0), 0);
  return { "owned, used": used(false), "cloud, used": used(true), idle: row.idle_nusd, "not watched": row.unknown_nusd };
}

/** All three together: what is known of it is at least that. */
function total(row) {
  if (!row.unknown_ms) return money(row.total_nusd);
  return row.total_nusd ? `at least ${money(row.total_nusd)}` : UNKNOWN;
}

/** One kind of money: a sum that lacks some price says so, and one that lacks all is unknown. */
function Sum({ row, name }) {
  const [nusd, lacks] = [row[PARTS[name]], row[LACKS[name]] > 0];
  if (lacks && !nusd) return UNKNOWN;
  return html`${lacks ? "at least " : ""}${money(nusd)}`;
}

function Groups({ value, names }) {
  if (!value) return null;
  const columns = [
    [value.by, (row) => html`<strong>${plain(names.get(nameOf(row, value.by)) || nameOf(row, value.by))}</strong>`],
    ...Object.keys(PARTS).map((name) => [name, (row) => html`<${Sum} row=${row} name=${name} />`, "number"]),
    ["in all", total, "number"],
    ["basis", (row) => html`<small>${row.basis || UNKNOWN}${row.sources.length ? `: ${row.sources.join(", ")}` : ""}</small>`],
  ];
  return html`<${Table} caption=${`Cost by ${value.by}`} columns=${columns} rows=${value.groups} keyOf=${(row) => nameOf(row, value.by)} none="Nothing was spent yet." />`;
}

const nameOf = (row, by) => String(row[by] ?? row.period ?? row.name ?? row.device_id ?? UNKNOWN);

function Budgets({ value }) {
  if (!value) return null;
  if (!value.budgets.length) return html`<p class="quiet">No budget is set. One for the fleet: fleet budget set --help</p>`;
  return html`
    ${value.faults.map((one) => html`<p class="warning" key=${one.fault + one.peer}>${one.peer}: ${one.fault}, by ${money(one.nusd)}</p>`)}
    <ul class="plain">${value.budgets.map((one) => html`<li key=${one.name + one.owner}><${Budget} one=${one} /></li>`)}</ul>`;
}

function Budget({ one }) {
  const taken = one.cap_nusd === null ? null : one.spent_nusd + one.held_nusd;
  const text = taken === null ? UNKNOWN : `${money(one.spent_nusd)} spent, ${money(one.held_nusd)} held of ${money(one.cap_nusd)}`;
  return html`<${Bar} label=${`${one.name} ${one.period || ""}`} share=${one.cap_nusd ? taken / one.cap_nusd : null} text=${text} />
    ${one.counts ? null : html`<p class="warning">limits nothing: whoever set it may not</p>`}`;
}
