// What devices cost, since when and by whose word; and what was said of it, the newest first.

import { html } from "../vendor/htm-preact.js";
import { Part, Table, useAnswer } from "../parts.js";
import { instant, money, plain, since, UNKNOWN, watts } from "../show.js";

const MOST = 50; // statements shown; fleet rates show has all
const KINDS = { device_rate_set: "a device's price", tariff_set: "a tariff", fx_rate_set: "a currency", charge_recorded: "a charge" };

export function Prices() {
  const rates = useAnswer("/v1/rates");
  return html`<${Part} title="Prices" answer=${rates}><${Now} value=${rates.value} /></${Part}>
    <${Part} title="Price history" answer=${rates}><${Said} value=${rates.value} /></${Part}>`;
}

function Now({ value }) {
  if (!value) return null;
  const columns = [
    ["device", (row) => html`<strong>${plain(row.name)}</strong>`],
    ["price", (row) => priceOf(row), "number"],
    ["power", (row) => (row.hourly_nusd ? "in its rent" : html`${watts(row.watts_mw)} busy, ${watts(row.idle_mw)} idle, at ${row.tariff || "an unknown tariff"}`)],
    ["since", (row) => (row.from_ms > 0 ? html`<span title=${instant(row.from_ms)}>${since(row.from_ms)}</span>` : UNKNOWN)],
    ["basis", (row) => html`<small>${row.source === "said" ? "somebody said so" : "as it registered"}${row.missing.length ? `; unknown: ${row.missing.join(", ")}` : ""}</small>`],
  ];
  return html`<${Table} caption="What devices cost now" columns=${columns} rows=${value.devices} keyOf=${(row) => row.device_id + row.owner} none="There are no devices yet." />`;
}

function priceOf(row) {
  if (row.hourly_nusd) return `${money(row.hourly_nusd)} an hour, rented`;
  if (row.price_nusd === null) return UNKNOWN;
  const price = row.currency === "USD" ? money(row.price_nusd) : `${(row.price_nusd / 1e9).toFixed(2)} ${row.currency}`;
  const many = row.count > 1 ? `${row.count} × ` : "";
  return `${many}${price} over ${row.months} months`;
}

function Said({ value }) {
  if (!value) return null;
  const names = new Map(value.devices.map((one) => [one.device_id, one.name]));
  const named = (text) => text.replace(/^[^:]+(?=: )/, (id) => names.get(id) || id);
  const columns = [
    ["when", (row) => html`<span title=${instant(row.said_ms)}>${since(row.said_ms)}</span>`],
    ["what", (row) => KINDS[row.event_type] || row.event_type],
    ["said", (row) => html`${plain(named(row.text))}${row.undone ? html` <small>taken back since</small>` : ""}`],
  ];
  return html`<${Table} caption="What this peer said of prices" columns=${columns} rows=${value.said.slice(0, MOST)} keyOf=${(row) => row.seq}
    none="This peer said nothing of prices yet: fleet rates set --help" />`;
}
