// Stacked bars as SVG, drawn by preact: one bar per day, its parts named below and in a table.

import { html } from "./vendor/htm-preact.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [640, 190, 104, 26, 12];

/** `rows`: [{label, parts: {name: number}}]; `names`: the parts, from below; `shown`: a number as text. */
export function Bars({ title, rows, names, shown }) {
  const sums = rows.map((row) => names.reduce((sum, name) => sum + (row.parts[name] || 0), 0));
  const most = Math.max(...sums, 0);
  if (!most) return null;
  const step = (WIDTH - LEFT) / rows.length;
  const scale = (HEIGHT - TOP - BOTTOM) / most;
  const every = Math.ceil(rows.length / 8); // labels that would lie on one another are left out
  return html`<figure>
    <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label=${title}>
      ${[0, 0.5, 1].map((share) => html`<${Line} key=${share} y=${HEIGHT - BOTTOM - share * most * scale} text=${shown(share * most)} />`)}
      ${rows.map((row, at) => html`<${Bar} key=${row.label} row=${row} names=${names} shown=${shown} scale=${scale}
        x=${LEFT + at * step} step=${step} label=${at % every ? "" : row.label} />`)}
    </svg>
    <figcaption>${names.map((name, at) => html`<span key=${name} class="key"><i class=${`swatch part-${at}`}></i>${name}</span>`)}</figcaption>
  </figure>`;
}

function Line({ y, text }) {
  return html`<g><line class="grid" x1=${LEFT} x2=${WIDTH} y1=${y} y2=${y} /><text x=${LEFT - 6} y=${y + 4} text-anchor="end">${text}</text></g>`;
}

function Bar({ row, names, shown, scale, x, step, label }) {
  const width = Math.min(48, step * 0.7);
  let y = HEIGHT - BOTTOM;
  return html`<g>
    ${names.map((name, at) => {
      const height = (row.parts[name] || 0) * scale;
      y -= height;
      return html`<rect key=${name} class=${`part-${at}`} x=${x + (step - width) / 2} y=${y} width=${width} height=${height}><title>${`${row.label}, ${name}: ${shown(row.parts[name])}`}</title></rect>`;
    })}
    <text x=${x + step / 2} y=${HEIGHT - 6} text-anchor="middle">${label}</text>
  </g>`;
}
