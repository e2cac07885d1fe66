// Streams of the daemon, each held once in a browser, whatever number of pages show it.
//
// A browser opens six connections to one place, so a page that held one each would lock the
// seventh out. Of the pages that are visible, one holds a lock and the stream, and tells the
// others; a page that is hidden lets go of both. fetch and not EventSource reads them, since that
// can't send the page's key.

import { get, headers, refused } from "./api.js";

const RETRY_MS = 1000;

/**
 * Call `tell(message)` for every message of a stream while this page is visible, and
 * `connected(yes)` when it begins and breaks. Returns a function that ends it.
 *
 * `name` is what pages share it by; `path(last)` says where it goes on, after the id `last`.
 */
export function follow(name, path, tell, connected = () => {}) {
  const channel = new BroadcastChannel(`fleet-${name}`);
  channel.onmessage = (event) => {
    if (!document.hidden) deliver(event.data, tell, connected);
  };
  const spread = (said) => {
    channel.postMessage(said);
    deliver(said, tell, connected);
  };
  let stop = new AbortController();
  const start = () => {
    stop.abort();
    if (document.hidden) return;
    stop = new AbortController();
    holdAlone(name, stop.signal, (signal) => keepReading(path, signal, spread));
  };
  document.addEventListener("visibilitychange", start);
  start();
  return () => {
    document.removeEventListener("visibilitychange", start);
    stop.abort();
    channel.close();
  };
}

function deliver(said, tell, connected) {
  connected(said.connected);
  if (said.message !== undefined) tell(said.message);
}

/** Run `work` while no other page does; browsers without locks run it in each. */
function holdAlone(name, signal, work) {
  if (!navigator.locks) return work(signal);
  return navigator.locks
    .request(`fleet-${name}`, { signal }, () => work(signal))
    .catch((error) => {
      if (error.name !== "AbortError") throw error;
    });
}

async function keepReading(path, signal, spread) {
  let last = "";
  while (!signal.aborted) {
    try {
      for await (const one of messages(await path(last), signal)) {
        last = one.id || last;
        spread({ connected: true, message: one.data });
      }
    } catch (error) {
      if (signal.aborted || error.status === 401) return;
    }
    if (signal.aborted) return;
    spread({ connected: false });
    await new Promise((wake) => setTimeout(wake, RETRY_MS));
  }
}

/** Every message of a server-sent stream: {kind, id, data}, until it ends. */
export async function* messages(path, signal) {
  const response = await fetch(path, { headers: headers(), signal });
  if (!response.ok) {
    refused(response.status);
    throw Object.assign(new Error(`the daemon answered ${response.status}`), { status: response.status });
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const message = parsed(part);
      if (message) yield message;
    }
  }
}

function parsed(part) {
  const message = { kind: "message", id: "", data: undefined };
  for (const line of part.split("\n")) {
    const at = line.indexOf(": ");
    const [name, value] = [line.slice(0, at), line.slice(at + 2)];
    if (name === "event") message.kind = value;
    if (name === "id") message.id = value;
    if (name === "data") message.data = JSON.parse(value);
  }
  return message.data === undefined ? null : message;
}

/** The fleet's devices, once a second. */
export function followDevices(tell, connected) {
  return follow("devices", () => "/v1/telemetry?peer=all", tell, connected);
}

/** A call for every event that the ledger gets from now on. */
export function followLedger(tell, connected) {
  const path = async (last) => {
    const since = last || (await get("/v1/dashboard/events?limit=1")).last;
    return `/v1/events?since=${since}`;
  };
  return follow("ledger", path, tell, connected);
}
