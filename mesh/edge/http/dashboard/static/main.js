// The page: sign in by the link's code, then tabs by the address's fragment.

import { html, render, useEffect, useLayoutEffect, useState } from "./vendor/htm-preact.js";
import { get, isSignedIn, onSignedOut, onStarting, signIn, signOut, words } from "./api.js";
import { Fleet } from "./tabs/fleet.js";
import { Plan } from "./tabs/plan.js";
import { Serve } from "./tabs/serve.js";
import { Jobs } from "./tabs/jobs.js";
import { Cost } from "./tabs/cost.js";
import { Ledger } from "./tabs/ledger.js";

const TABS = { fleet: ["Fleet", Fleet], plan: ["Plan", Plan], serve: ["Serve", Serve], jobs: ["Jobs", Jobs], cost: ["Cost", Cost], ledger: ["Ledger", Ledger] };
const CODE = "#code=";
const LOOK_MS = 1000; // how often a daemon that starts is asked how far it is

const tabOf = (hash) => (Object.hasOwn(TABS, hash.slice(1)) ? hash.slice(1) : "fleet");

function Page() {
  const [tab, setTab] = useState(tabOf(location.hash));
  const [inside, setInside] = useState(isSignedIn());
  const [problem, setProblem] = useState("");
  const [starting, setStarting] = useState(null);
  useLayoutEffect(() => {
    const enter = async () => {
      const code = takeCode();
      setTab(tabOf(location.hash));
      if (!code) return;
      try {
        await signIn(code);
        setProblem("");
        setInside(true);
      } catch (error) {
        setProblem(words(error));
      }
    };
    onSignedOut(() => setInside(false));
    onStarting(setStarting);
    addEventListener("hashchange", enter);
    enter();
    return () => removeEventListener("hashchange", enter);
  }, []);
  if (!inside) return html`<${Door} problem=${problem} />`;
  if (starting) return html`<${Starting} said=${starting} ended=${() => setStarting(null)} />`;
  const Shown = TABS[tab][1];
  return html`<${Tabs} tab=${tab} /><main><h1 class="unseen">${TABS[tab][0]}</h1>
    <div id="panel" role="tabpanel" aria-labelledby=${`tab-${tab}`} tabindex="0"><${Shown} key=${tab} /></div></main>`;
}

/** The code that the address holds, taken out of it: a spent one stays in no history. */
function takeCode() {
  if (!location.hash.startsWith(CODE)) return "";
  const code = location.hash.slice(CODE.length);
  history.replaceState(null, "", "#fleet");
  return code;
}

function Door({ problem }) {
  return html`<main class="door">
    <h1>Fleet Ledger</h1>
    ${problem && html`<p class="warning" role="alert">${problem}</p>`}
    <p>This browser is not signed in. On this machine, run</p>
    <pre><code>fleet dashboard</code></pre>
    <p>and open the link it shows within a minute. It works once.</p>
  </main>`;
}

/** What a daemon does before it is ready; gone once it answers. */
function Starting({ said, ended }) {
  useEffect(() => {
    const look = () => get("/v1/status").then(ended, () => {});
    const timer = setInterval(look, LOOK_MS);
    return () => clearInterval(timer);
  }, []);
  const { done, count } = said.progress;
  return html`<main class="door">
    <h1>Fleet Ledger</h1>
    <p role="status">${said.text}</p>
    <progress aria-label="events done" max=${count || 1} value=${count ? done : null}></progress>
    <p class="quiet">Nothing is lost if it is stopped: the next start begins this again.</p>
  </main>`;
}

function Tabs({ tab }) {
  return html`<header class="top">
    <strong class="title">Fleet Ledger</strong>
    <div class="tabs" role="tablist" aria-label="Parts of the dashboard" onKeyDown=${move}>${Object.entries(TABS).map(
      ([name, [title]]) => html`<a key=${name} id=${`tab-${name}`} role="tab" href=${`#${name}`} aria-controls="panel"
        aria-selected=${name === tab ? "true" : "false"} tabindex=${name === tab ? 0 : -1}>${title}</a>`,
    )}</div>
    <button type="button" class="plain" onClick=${() => signOut().catch(() => {})}>Sign out</button>
  </header>`;
}

const STEPS = { ArrowLeft: -1, ArrowRight: 1 };

/** Arrows go around the tabs, Home and End to the first and last, as WAI-ARIA says; Tab goes past. */
function move(event) {
  const tabs = [...event.currentTarget.children];
  const at = tabs.indexOf(document.activeElement);
  const ends = { Home: 0, End: tabs.length - 1 };
  const to = event.key in ends ? ends[event.key] : event.key in STEPS ? (at + STEPS[event.key] + tabs.length) % tabs.length : -1;
  if (to < 0 || at < 0) return;
  event.preventDefault();
  tabs[to].focus();
  location.hash = tabs[to].hash;
}

render(html`<${Page} />`, document.getElementById("page"));
