// A model kept up from the page, and a talk with it through this machine's address.

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { headers, post, Refused, refused, words } from "../api.js";
import { Act } from "../parts.js";

const CONTEXTS = [2048, 4096, 8192, 16384, 32768];
const IDLE = { "10 minutes": 600000, "1 hour": 3600000, "never": 0 };
const MOST_TOKENS = 1024; // of one answer; a page is for a look, a program asks the address itself

/** Keep a model up; planned first, so that a name that means nothing stays in no ledger. */
export function Start({ models, again }) {
  const [model, setModel] = useState("");
  const [context, setContext] = useState(4096);
  const [where, setWhere] = useState("");
  const [idle, setIdle] = useState("10 minutes");
  const start = async () => {
    const spec = { model: model.trim(), context, ...(where ? { on: where } : {}) };
    const plan = await post("/v1/plan", { model: spec.model, context });
    if (!plan.placements.length) throw new Error(`${spec.model} fits on no device now; Plan says why`);
    const idle_ms = IDLE[idle];
    const kept = await post("/v1/services", { spec, min: idle_ms ? 0 : 1, max: 1, idle_ms });
    again();
    setModel("");
    return `${kept.model} comes up when it is asked`;
  };
  return html`<form class="question" onSubmit=${(event) => event.preventDefault()}>
      <div><label for="serve-model">model</label> <input id="serve-model" list="serve-models" value=${model} onInput=${(event) => setModel(event.target.value)} autocomplete="off" spellcheck="false" />
        <datalist id="serve-models">${models.map((name) => html`<option key=${name} value=${name} />`)}</datalist></div>
      <${Choice} id="serve-context" label="context" value=${context} set=${(text) => setContext(Number(text))} of=${CONTEXTS.map((one) => [one, `${one / 1024}k tokens`])} />
      <${Choice} id="serve-where" label="where" value=${where} set=${setWhere} of=${[["", "this machine"], ["any", "any device of the fleet's own"]]} />
      <${Choice} id="serve-idle" label="leaves when idle for" value=${idle} set=${setIdle} of=${Object.keys(IDLE).map((one) => [one, one])} />
    </form>
    <p><${Act} label="Serve it" disabled=${!model.trim()} run=${start} /></p>`;
}

function Choice({ id, label, value, set, of }) {
  return html`<div><label for=${id}>${label}</label> <select id=${id} value=${value} onChange=${(event) => set(event.target.value)}>
    ${of.map(([one, text]) => html`<option key=${one} value=${one}>${text}</option>`)}</select></div>`;
}

/** `models`: what answers at the address; `again` looks how its servers stand. The talk is on this page alone, and ends with it. */
export function Chat({ models, again }) {
  const [model, setModel] = useState("");
  const [talk, setTalk] = useState([]);
  const [text, setText] = useState("");
  const [note, setNote] = useState("");
  const [busy, setBusy] = useState(false);
  const stop = useRef(new AbortController());
  useEffect(() => () => stop.current.abort(), []);
  const asked = model || models[0] || "";
  const send = async () => {
    const messages = [...talk.filter((one) => one.content), { role: "user", content: text }];
    setTalk([...messages, { role: "assistant", content: "" }]);
    setText("");
    setNote("waiting for the model…");
    setBusy(true);
    stop.current = new AbortController();
    try {
      const body = { model: asked, messages, stream: true, max_tokens: MOST_TOKENS };
      await stream(body, stop.current.signal, (more) => setTalk((had) => [...had.slice(0, -1), { role: "assistant", content: had[had.length - 1].content + more }]), setNote);
      setNote("");
    } catch (error) {
      setNote(stop.current.signal.aborted ? "stopped" : words(error));
    }
    setBusy(false);
    again();
  };
  if (!models.length) return html`<p class="quiet">No model answers yet: serve one above.</p>`;
  return html`
    <p class="line"><label for="chat-model">model</label> <select id="chat-model" value=${asked} onChange=${(event) => setModel(event.target.value)}>
      ${models.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}</select></p>
    ${talk.length > 0 && html`<ol class="talk" aria-label="The talk" tabindex="0">${talk.map((one, at) => html`<li key=${at} class=${one.role}><span class="quiet">${one.role === "user" ? "you" : asked}</span><div>${one.content}</div></li>`)}</ol>`}
    <form onSubmit=${(event) => (event.preventDefault(), text.trim() && !busy && send())}>
      <label for="chat-text">Say something</label>
      <textarea id="chat-text" rows="3" value=${text} onInput=${(event) => setText(event.target.value)}></textarea>
      <p class="line"><button type="submit" disabled=${!text.trim() || busy}>Send</button>
        <button type="button" disabled=${!busy} onClick=${() => stop.current.abort()}>Stop</button>
        <button type="button" disabled=${!talk.length || busy} onClick=${() => (setTalk([]), setNote(""))}>New talk</button>
        <span role="status">${note}</span></p>
    </form>`;
}

/** Send a chat; `more` gets the answer's pieces, `say` what is waited for. */
async function stream(body, signal, more, say) {
  const sent = { ...headers(), "Content-Type": "application/json" };
  const response = await fetch("/v1/dashboard/chat", { method: "POST", headers: sent, body: JSON.stringify(body), signal });
  if (!response.ok) {
    refused(response.status);
    const said = await response.json().catch(() => ({}));
    throw new Refused(response.status, said.error ? { text: said.error.message } : said);
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith(":")) say(line.slice(1).trim());
      if (line.startsWith("data:")) piece(line.slice(5).trim(), more, say);
    }
  }
}

function piece(data, more, say) {
  if (data === "[DONE]") return;
  const said = JSON.parse(data);
  if (said.error) throw new Error(said.error.message || "the answer broke off");
  const text = said.choices && said.choices[0] && said.choices[0].delta && said.choices[0].delta.content;
  if (text) {
    say("");
    more(text);
  }
}
