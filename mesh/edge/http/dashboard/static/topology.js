// Who is linked with this machine, as a small picture; the table below it says the same in words.

import { html } from "./vendor/htm-preact.js";

const WIDTH = 640;
const [FLAT, TALL] = [90, 230]; // up to two others stand beside this machine, more around it
const MOST = 16; // more would lie on one another: they are counted, and in the table
const LETTERS = 14;

export function Topology({ peers, devices }) {
  const others = peers.filter((one) => !one.you && one.state !== "removed");
  const me = peers.find((one) => one.you);
  if (!me || !others.length) return null;
  const shown = others.slice(0, MOST);
  const height = shown.length > 2 ? TALL : FLAT;
  const middle = [WIDTH / 2, height / 2 - 8];
  const places = shown.map((_, at) => place(at, shown.length, middle));
  const online = others.filter((one) => one.state === "online").length;
  const many = (name) => devices.filter((one) => one.peer === name).length;
  const said = `${me.name} is linked with ${online} of ${others.length} other peers`;
  return html`<figure>
    <svg class="topology" viewBox=${`0 0 ${WIDTH} ${height}`} role="img" aria-label=${said}>
      ${shown.map((one, at) => html`<${Link} key=${one.key} from=${middle} to=${places[at]} state=${one.state} />`)}
      <${Peer} name=${me.name} at=${middle} state="you" many=${many(me.name)} />
      ${shown.map((one, at) => html`<${Peer} key=${one.key} name=${one.name || one.peer_id.slice(0, 7)} at=${places[at]} state=${one.state} many=${many(one.name)} />`)}
    </svg>
    <figcaption>${said}${others.length > MOST ? `; ${others.length - MOST} are not drawn` : ""}.
      A dashed line is a peer that is not linked now.</figcaption>
  </figure>`;
}

/** Around the middle; the first to the right. */
function place(at, many, [x, y]) {
  const turn = (2 * Math.PI * at) / many;
  return [x + Math.cos(turn) * WIDTH * 0.36, y + (many > 2 ? Math.sin(turn) * TALL * 0.34 : 0)];
}

function Link({ from, to: [x, y], state }) {
  return html`<line class=${`link ${state}`} x1=${from[0]} y1=${from[1]} x2=${x} y2=${y} />`;
}

function Peer({ name, at: [x, y], state, many }) {
  const text = name.length > LETTERS ? `${name.slice(0, LETTERS - 1)}…` : name;
  return html`<g class=${`peer ${state}`}><title>${`${name}, ${many} devices, ${state === "you" ? "this machine" : state}`}</title>
    <circle cx=${x} cy=${y} r="15" />
    <text class="count" x=${x} y=${y + 4} text-anchor="middle">${many}</text>
    <text x=${x} y=${y + 31} text-anchor="middle">${text}</text></g>`;
}
