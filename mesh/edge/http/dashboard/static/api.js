// Talking to this machine's daemon. A session is a cookie, which the browser sends, and a key,
// which this origin keeps and sends as a header; neither opens anything without the other.

const KEY = "fleet-page-key";
const TIMEOUT_MS = 15000; // a verify of a large ledger has its own

export class Refused extends Error {
  constructor(status, said) {
    super(said.text || `the daemon answered ${status}`);
    this.status = status;
    this.code = said.code || "";
    this.hint = said.hint || "";
  }
}

let signedOut = () => {};
let starting = () => {};

/** Call `then` when the daemon knows this session no more. */
export function onSignedOut(then) {
  signedOut = then;
}

/** Call `then` with the daemon's words and its progress while it has not opened its ledger yet. */
export function onStarting(then) {
  starting = then;
}

export function isSignedIn() {
  return localStorage.getItem(KEY) !== null;
}

/** Exchange a link's code for a session. */
export async function signIn(code) {
  const said = await ask("POST", "/dashboard/session", { code });
  localStorage.setItem(KEY, said.key);
}

export async function signOut() {
  try {
    await post("/v1/dashboard/end", {});
  } finally {
    forget();
  }
}

export function get(path, options) {
  return ask("GET", path, undefined, options);
}

export function post(path, body, options) {
  return ask("POST", path, body, options);
}

/** The headers of every request of ours. */
export function headers() {
  return { "Fleet-Page": localStorage.getItem(KEY) || "" };
}

async function ask(method, path, body, { signal, timeout = TIMEOUT_MS } = {}) {
  const limit = AbortSignal.timeout(timeout);
  const response = await fetch(path, {
    method,
    headers: body === undefined ? headers() : { ...headers(), "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: signal ? AbortSignal.any([signal, limit]) : limit,
  });
  const said = await response.json().catch(() => ({}));
  if (response.ok) return said;
  refused(response.status);
  if (said.progress) starting(said); // no part of it is ready
  throw new Refused(response.status, said);
}

/** What every refusal may mean: 401 is a session that ended, or a daemon that started anew. */
export function refused(status) {
  if (status === 401) forget();
}

function forget() {
  localStorage.removeItem(KEY);
  signedOut();
}

/**
 * Ask one question at a time: of those that come meanwhile only the newest is asked. One on its way
 * is waited for, so that a hand that goes on moving sees answers, unless it is `slow`: it is given
 * up for the next, and the daemon drops it if it has not begun. Take null to end.
 */
export function newest(ask, answered, failed) {
  let [now, next, ended] = [null, null, false];
  return async function take(question, { slow = false } = {}) {
    ended = ended || question === null;
    next = question === null ? null : { question, slow };
    if (now && (ended || now.slow)) now.stop.abort();
    if (now) return;
    while (next !== null && !ended) {
      now = { slow: next.slow, stop: new AbortController() };
      const mine = next;
      next = null;
      try {
        const value = await ask(mine.question, now.stop.signal);
        if (!ended) answered(value);
      } catch (error) {
        if (!ended && next === null) failed(error);
      }
    }
    now = null;
  };
}

/** What went wrong, in a sentence. */
export function words(error) {
  if (error.name === "TimeoutError") return "no answer within 15 s";
  if (error instanceof TypeError) return "the daemon does not answer: fleet up --detach";
  return error.hint ? `${error.message}; ${error.hint}` : error.message;
}
