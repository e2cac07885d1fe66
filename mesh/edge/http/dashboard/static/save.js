// A file for the person: put together here, since a plain link can't send the page's key.

import { headers, Refused, refused } from "./api.js";

/** Bytes that a page holds at once; what is larger is fetched by the command line. */
export const MOST_BYTES = 256 * 1024 * 1024;

/** Have the browser keep these parts under a name. */
export function keep(name, parts) {
  const url = URL.createObjectURL(new Blob(parts, { type: "application/octet-stream" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60000); // a slow disk has read it by then
}

/** Fetch a whole answer and keep it; `hint` says what to do where it is too large. */
export async function keepAnswer(path, name, hint) {
  const stop = new AbortController();
  const response = await fetch(path, { headers: headers(), signal: stop.signal });
  if (!response.ok) {
    refused(response.status);
    throw new Refused(response.status, await response.json().catch(() => ({})));
  }
  if (Number(response.headers.get("Content-Length")) > MOST_BYTES) {
    stop.abort();
    throw new Error(`it is over ${MOST_BYTES >> 20} MiB: ${hint}`);
  }
  keep(name, [await response.blob()]);
}
