// What several tabs are made of. Every text goes through preact's text nodes: none is markup.

import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { get, words } from "./api.js";
import { followLedger } from "./live.js";
import { age } from "./show.js";

const QUIET_MS = 1000; // between two answers, however many events come
const PATIENCE_MS = 15000; // what changes without an event (why a job waits) is seen within this

/**
 * The JSON at `path`, asked anew when the ledger grows, and now and then. What was had last stays
 * while the next is on its way or fails: `at` says when it came, `error` what is wrong since.
 */
export function useAnswer(path, { live = true } = {}) {
  const [answer, setAnswer] = useState({ value: null, at: 0, error: "" });
  const ask = useRef(() => {});
  useEffect(() => {
    const stop = new AbortController();
    let [asking, again] = [false, false];
    ask.current = async () => {
      if (asking) return void (again = true);
      asking = true;
      try {
        const value = await get(path, { signal: stop.signal });
        setAnswer({ value, at: Date.now(), error: "" });
      } catch (error) {
        if (!stop.signal.aborted) setAnswer((had) => ({ ...had, error: words(error) }));
      }
      asking = false;
      if (again && !stop.signal.aborted) setTimeout(ask.current, QUIET_MS);
      again = false;
    };
    ask.current();
    const end = live ? whenChanged(() => ask.current()) : () => {};
    return () => {
      stop.abort();
      end();
    };
  }, [path]);
  return { ...answer, again: () => ask.current() };
}

/** What each device is called, by its id; nothing while nobody has said. */
export function useDeviceNames() {
  const { value } = useAnswer("/v1/devices", { live: false });
  return new Map((value ? value.devices : []).map((one) => [one.device_id, one.name]));
}

/** Call `then` as the ledger grows, which is told once a second, and every PATIENCE_MS; returns the end. */
function whenChanged(then) {
  const end = followLedger(then);
  const timer = setInterval(() => document.hidden || then(), PATIENCE_MS);
  const shown = () => document.hidden || then();
  document.addEventListener("visibilitychange", shown);
  return () => {
    end();
    clearInterval(timer);
    document.removeEventListener("visibilitychange", shown);
  };
}

/** A part of a tab that stands on one answer: its title, how old the answer is, what is wrong. */
export function Part({ title, answer, children }) {
  return html`<section aria-label=${title}>
    <header class="part"><h2>${title}</h2>${answer && html`<${Freshness} answer=${answer} />`}</header>
    ${answer && answer.error && html`<p class="warning" role="status">${answer.error}</p>`}
    ${answer && !answer.value ? !answer.error && html`<p class="quiet">asking…</p>` : children}
  </section>`;
}

function Freshness({ answer }) {
  const now = useNow();
  return answer.at ? html`<span class="quiet">as of ${age(now - answer.at)}</span>` : null;
}

/** The time, once a second: for ages. */
export function useNow() {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return Math.max(now, 0);
}

/** A bar with its number in words; an unknown one is empty and says so. */
export function Bar({ label, share, text, warns }) {
  const known = share !== null && share !== undefined;
  const full = known ? Math.round(100 * Math.min(1, Math.max(0, share))) : 0;
  return html`<div class="bar">
    <span class="name">${label}</span>
    <span class="track ${known ? "" : "unknown"}" role="meter" aria-label=${label} aria-valuemin="0"
      aria-valuemax="100" aria-valuenow=${full} aria-valuetext=${text}
      ><span class="fill ${warns && full > 90 ? "high" : ""}" style=${{ width: `${full}%` }}></span></span>
    <span class="value">${text}</span>
  </div>`;
}

/**
 * Rows under headings; `columns` are [heading, cell of a row, class]. On a phone each row
 * is a card; the roles are said since browsers take a table that is drawn so for none. Of more
 * than `most` rows so many are shown, and more where somebody asks.
 */
export function Table({ caption, columns, rows, none, keyOf, most = Infinity }) {
  const [pages, setPages] = useState(1);
  if (!rows.length) return html`<p class="quiet">${none}</p>`;
  const shown = rows.slice(0, most * pages);
  return html`<table role="table">
    <caption class="unseen">${caption}</caption>
    <thead role="rowgroup"><tr role="row">${columns.map(([title]) => html`<th role="columnheader" scope="col">${title}</th>`)}</tr></thead>
    <tbody role="rowgroup">${shown.map(
      (row) => html`<tr role="row" key=${keyOf(row)}>${columns.map(
        ([title, cell, kind]) => html`<td role="cell" class=${kind || ""} data-title=${title}>${cell(row)}</td>`,
      )}</tr>`,
    )}</tbody>
  </table>
  ${shown.length < rows.length && html`<button type="button" onClick=${() => setPages(pages + 1)}>${rows.length - shown.length} more</button>`}`;
}

/** A button that says what came of it. */
export function Act({ label, about, danger, disabled, run }) {
  const [said, setSaid] = useState("");
  const [busy, setBusy] = useState(false);
  const press = async () => {
    setBusy(true);
    try {
      setSaid((await run()) || "");
    } catch (error) {
      setSaid(words(error));
    }
    setBusy(false);
  };
  return html`<span class="act"><button type="button" class=${danger ? "danger" : ""} disabled=${busy || disabled}
    aria-label=${about || label} onClick=${press}>${label}</button> <span role="status">${said}</span></span>`;
}
