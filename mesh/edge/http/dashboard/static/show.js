// Numbers as people read them. What is not known is "unknown", never 0.

export const UNKNOWN = "unknown";

const isKnown = (value) => value !== null && value !== undefined;

// Making a format takes longer than writing a hundred numbers.
const formats = new Map();
const whole = new Intl.NumberFormat("en");
const numeric = Object.fromEntries(["year", "month", "day", "hour", "minute", "second"].map((part) => [part, "numeric"]));
const clock = new Intl.DateTimeFormat(undefined, numeric);
const LAST_MS = 8.64e15; // no date is later; a peer may write any number

function rounded(value, digits = 3) {
  if (value !== 0 && Math.abs(value) < 1) return String(Number(value.toPrecision(2)));
  const most = Math.max(digits, String(Math.trunc(value)).length);
  if (!formats.has(most)) formats.set(most, new Intl.NumberFormat("en", { maximumSignificantDigits: most }));
  return formats.get(most).format(value);
}

export function bytes(value) {
  if (!isKnown(value)) return UNKNOWN;
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value.toFixed(unit > 2 ? 1 : 0)} ${units[unit]}`;
}

/** Money from nano-dollars. */
export function money(nusd) {
  if (!isKnown(nusd)) return UNKNOWN;
  const dollars = nusd / 1e9;
  if (dollars === 0) return "$0";
  const [sign, size] = [dollars < 0 ? "-" : "", Math.abs(dollars)];
  if (size >= 1) return `${sign}$${size.toFixed(2)}`;
  return `${sign}$${Number(size.toPrecision(2)).toFixed(9).replace(/\.?0+$/, "")}`; // a nano-dollar is the least
}

export function span(ms) {
  if (!isKnown(ms)) return UNKNOWN;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${rounded(seconds, 2)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${rounded(seconds / 3600, 2)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

/** How long ago. Under two seconds is now: less would flicker. */
export function age(ms) {
  if (!isKnown(ms)) return "age unknown";
  return ms < 2000 ? "now" : `${span(ms < 60000 ? Math.floor(ms / 1000) * 1000 : ms)} ago`;
}

/** The age of an instant of a clock that need not be ours. */
export const since = (at_ms) => (at_ms ? age(Math.max(0, Date.now() - at_ms)) : "age unknown");

export const percent = (value) => (isKnown(value) ? `${value} %` : UNKNOWN);

export const watts = (mw) => (isKnown(mw) ? `${Math.round(mw / 1000)} W` : UNKNOWN);

/** "401 (319–500)": the middle of a band, and where eight of ten lie. */
export function band(value, shown = rounded) {
  if (!value) return UNKNOWN;
  return `${shown(value.p50)} (${shown(value.p10)} – ${shown(value.p90)})`;
}

export function instant(ms) {
  return ms && Math.abs(ms) <= LAST_MS ? clock.format(ms) : UNKNOWN;
}

export const count = (value) => (isKnown(value) ? whole.format(value) : UNKNOWN);

// What a terminal would act on: colours, the cursor, a window's title.
const ESCAPES = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b\n]*(?:\u0007|\u001b\\)|[@-Z\\^_])/g;
// Characters that draw nothing or turn the text around; tab and line feed stay.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/** Text that somebody else's program wrote, without what is no text; \r ends a line, too. */
export const plain = (text) => text.replace(ESCAPES, "").replace(/\r\n?/g, "\n").replace(UNSEEN, "\ufffd");
