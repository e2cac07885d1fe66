// What the daemon tells by itself, over one stream in a browser, whatever number of pages show it.
//
// A browser opens six connections to one place, so a page that held one each would lock the
// seventh out. Of the pages that are visible, one holds a lock and the stream, and tells the
// others; a page that is hidden lets go of both. fetch and not EventSource reads it, since that
// can't send the page's key.

import { headers, refused } from "./api.js";

const LIVE = "/v1/dashboard/live";
const RETRY_MS = 1000;
const LINGER_MS = 1000; // from one tab to another the stream stays
const OUTPUTS = 3; // streams of outputs in a browser: with ours, two connections stay for answers

const listeners = new Set();
let channel = null; // open while anybody listens here
let stop = new AbortController();
let lingering = 0;
let cursor = null; // of the newest event that was heard of

/** Call `tell` with the fleet's devices, once a second, and `connected(yes)` as the stream is. */
export function followDevices(tell, connected = () => {}) {
  return listen({ devices: tell, ledger: () => {}, connected });
}

/** Call `tell` when the ledger has grown. */
export function followLedger(tell) {
  return listen({ devices: () => {}, ledger: tell, connected: () => {} });
}

/** Returns a function that ends it. */
function listen(one) {
  clearTimeout(lingering);
  listeners.add(one);
  if (!channel) {
    channel = new BroadcastChannel("fleet-live");
    channel.onmessage = (event) => document.hidden || deliver(event.data, false);
    document.addEventListener("visibilitychange", hold);
    hold();
  }
  return () => {
    listeners.delete(one);
    clearTimeout(lingering);
    lingering = setTimeout(rest, LINGER_MS);
  };
}

function rest() {
  if (listeners.size) return;
  document.removeEventListener("visibilitychange", hold);
  stop.abort();
  channel.close();
  channel = null;
}

/** Hold the stream, or wait until no other page does, while this page is visible. */
function hold() {
  stop.abort();
  if (document.hidden) return;
  stop = new AbortController();
  alone(stop.signal, keepReading);
}

/** `own`: from the stream that this page holds, which says at its begin where the ledger is. */
function deliver({ kind, data }, own) {
  for (const one of [...listeners]) one.connected(kind !== "broken");
  if (kind === "devices") for (const one of [...listeners]) one.devices(data);
  if (kind !== "ledger" || data.last === cursor) return;
  const first = own && cursor === null; // what is shown was asked a moment ago
  cursor = data.last;
  if (!first) for (const one of [...listeners]) one.ledger();
}

/** Run `work` while no other page does; browsers without locks run it in each. */
function alone(signal, work) {
  if (!navigator.locks) return work(signal);
  return navigator.locks.request("fleet-live", { signal }, () => work(signal)).catch((error) => {
    if (error.name !== "AbortError") throw error;
  });
}

async function keepReading(signal) {
  const spread = (said) => {
    if (signal.aborted) return;
    channel.postMessage(said);
    deliver(said, true);
  };
  while (!signal.aborted) {
    try {
      for await (const { kind, data } of read(LIVE, signal)) spread({ kind, data });
    } catch (error) {
      if (signal.aborted || error.status === 401) return;
    }
    spread({ kind: "broken" });
    await new Promise((wake) => setTimeout(wake, RETRY_MS));
  }
}

/**
 * Every message of another stream, such as a job's output: {kind, id, data}, until it ends. It
 * waits where as many pages as a browser has connections for read theirs.
 */
export async function* messages(path, signal) {
  const release = await turn(signal);
  try {
    yield* read(path, signal);
  } finally {
    release();
  }
}

/** A function that ends this turn, once there is one of OUTPUTS. */
async function turn(signal) {
  if (!navigator.locks) return () => {};
  for (;;) {
    for (let number = 0; number < OUTPUTS; number += 1) {
      const release = await taken(`fleet-output-${number}`);
      if (release) return release;
    }
    await new Promise((wake) => setTimeout(wake, RETRY_MS));
    signal.throwIfAborted();
  }
}

/** Hold a lock if it is free: a function that lets go, or null. */
function taken(name) {
  return new Promise((told) => {
    navigator.locks.request(name, { ifAvailable: true }, (lock) => lock ? new Promise((release) => told(release)) : told(null));
  });
}

async function* read(path, signal) {
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
