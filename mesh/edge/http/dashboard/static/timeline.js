// When jobs waited and ran, one line each, as SVG; the table beside it says the same in words.

import { html } from "./vendor/htm-preact.js";
import { instant, plain, span } from "./show.js";

const [WIDTH, ROW, LEFT, BOTTOM] = [640, 22, 150, 24];
const LETTERS = 13; // fit beside the bars also in a phone's larger letters

/** `jobs`: rows of /v1/jobs, the newest first; those that never began have waited alone. */
export function Timeline({ jobs, now }) {
  if (!jobs.length) return null;
  const first = Math.min(...jobs.map((one) => one.submitted_ms));
  const last = Math.max(...jobs.map((one) => one.ended_ms || now), first + 1);
  const x = (ms) => LEFT + ((Math.min(Math.max(ms, first), last) - first) / (last - first)) * (WIDTH - LEFT);
  const height = jobs.length * ROW + BOTTOM;
  return html`<figure>
    <svg class="timeline" viewBox=${`0 0 ${WIDTH} ${height}`} role="img" aria-label=${`When the newest ${jobs.length} jobs waited and ran`}>
      ${jobs.map((one, at) => html`<${Line} key=${one.job_id} job=${one} y=${at * ROW} x=${x} now=${now} />`)}
      <text x=${LEFT} y=${height - 6}>${instant(first)}</text>
      <text x=${WIDTH} y=${height - 6} text-anchor="end">${jobs.some((one) => !one.ended_ms) ? "now" : instant(last)}</text>
    </svg>
    <figcaption><span class="key"><i class="swatch part-2"></i>waits</span><span class="key"><i class="swatch part-0"></i>runs, or ran well</span><span class="key"><i class="swatch part-1"></i>failed or cancelled</span></figcaption>
  </figure>`;
}

function Line({ job, y, x, now }) {
  const end = job.ended_ms || now;
  const begun = job.started_ms || end;
  const name = plain(job.label || job.model || job.kind);
  const bad = job.status === "failed" || job.status === "cancelled";
  const said = `${name}: waited ${span(begun - job.submitted_ms)}${job.started_ms ? `, ran ${span(end - begun)}` : ""}, ${job.status}`;
  return html`<g><title>${said}</title>
    <text x=${LEFT - 8} y=${y + 15} text-anchor="end">${name.length > LETTERS ? `${name.slice(0, LETTERS - 1)}…` : name}</text>
    <rect class="part-2" x=${x(job.submitted_ms)} y=${y + 8} width=${Math.max(1, x(begun) - x(job.submitted_ms))} height="6" />
    ${job.started_ms ? html`<rect class=${bad ? "part-1" : "part-0"} x=${x(begun)} y=${y + 4} width=${Math.max(2, x(end) - x(begun))} height="14" />` : null}
  </g>`;
}
