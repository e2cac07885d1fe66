// Who asks to be let in, and invites: what an admin's page may do about who belongs.

import { html, useState } from "../vendor/htm-preact.js";
import { post } from "../api.js";
import { Act, Part, useAnswer } from "../parts.js";
import { age, instant } from "../show.js";

const ROLES = { viewer: "reads", member: "runs jobs", runner: "runs jobs, lends devices" };
const TIMES = { "15 minutes": 15 * 60000, "1 hour": 3600000, "1 day": 86400000 };

export function People({ peers }) {
  const waiting = useAnswer("/v1/peers/pending");
  const me = peers.find((one) => one.you);
  const others = peers.some((one) => !one.you);
  const rows = waiting.value ? waiting.value.pending : [];
  const may = me && me.role === "admin";
  return html`<${Part} title="Asking to be let in" answer=${waiting}>
      ${rows.length ? html`<ul class="cards">${rows.map((row) => html`<${Asker} key=${row.peer_id} row=${row} may=${may} again=${waiting.again} />`)}</ul>`
        : html`<p class="quiet">Nobody asks. A machine asks by <code>fleet join</code> and this machine's address.</p>`}
    </${Part}>
    <section aria-label="Invite a machine"><header class="part"><h2>Invite a machine</h2></header>
      ${may ? html`<${Invite} />` : html`<p class="quiet">${me || others
        ? "Only an admin decides who belongs: the same page on one of the admins' machines."
        : html`This machine is alone. Its first invite founds the fleet and shows the recovery words, for paper: <code>fleet invite</code> in a terminal.`}</p>`}
    </section>`;
}

function RoleChoice({ id, role, setRole }) {
  return html`<label for=${id}>role</label> <select id=${id} value=${role} onChange=${(event) => setRole(event.target.value)}>
    ${Object.entries(ROLES).map(([name, about]) => html`<option key=${name} value=${name}>${name}: ${about}</option>`)}</select>`;
}

/** Somebody who asks: nothing but the id says who that is, so it is compared first. */
function Asker({ row, may, again }) {
  const [role, setRole] = useState("runner");
  const [same, setSame] = useState(false);
  const letIn = async () => {
    const said = await post(`/v1/peers/${encodeURIComponent(row.peer_id)}/accept`, { role });
    again();
    return `${said.name} is in as ${said.role}`;
  };
  const ignore = async () => {
    await post(`/v1/peers/${encodeURIComponent(row.peer_id)}/ignore`, {});
    again();
  };
  const id = `same-${row.peer_id}`;
  return html`<li class="card">
    <h3>${row.name}</h3>
    <p class="quiet">from ${row.address}, asked ${age(row.age_ms)}. It chose its name itself; its id it can't.</p>
    <p><code class="id">${row.peer_id}</code></p>
    ${may ? html`<p><input type="checkbox" id=${id} checked=${same} onChange=${(event) => setSame(event.target.checked)} />
        <label for=${id}> <code>fleet id</code> says the same id there</label></p>
      <p><${RoleChoice} id=${`role-${row.peer_id}`} role=${role} setRole=${setRole} /></p>
      <p><${Act} label="Let in" about=${`Let in ${row.name}`} disabled=${!same} run=${letIn} />
        <${Act} label="Ignore" about=${`Ignore ${row.name}`} danger run=${ignore} /></p>`
      : html`<p class="quiet">An admin lets it in.</p>`}
  </li>`;
}

function Invite() {
  const [role, setRole] = useState("runner");
  const [time, setTime] = useState("15 minutes");
  const [made, setMade] = useState(null);
  const make = async () => setMade(await post("/v1/invites", { role, ttl_ms: TIMES[time], uses: 1 }));
  const copy = async () => {
    await navigator.clipboard.writeText(made.code);
    return "copied";
  };
  return html`<p class="line"><${RoleChoice} id="invite-role" role=${role} setRole=${setRole} />
      <label for="invite-time">works for</label> <select id="invite-time" value=${time} onChange=${(event) => setTime(event.target.value)}>
        ${Object.keys(TIMES).map((one) => html`<option key=${one} value=${one}>${one}</option>`)}</select>
      <${Act} label="Make an invite" run=${make} /></p>
    ${made && html`<p>On the other machine: <code class="address">fleet join ${made.code}</code> <${Act} label="Copy" about="Copy the code" run=${copy} /></p>
      <p class="quiet">For one machine, as ${made.role}, until ${instant(made.expires_ms)}. Whoever has the code is in: send it by a way you trust.</p>`}`;
}
