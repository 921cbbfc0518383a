"use strict";

// Asks for /-/state every second while the page is looked at, and lays it over what is shown.
// Whatever comes from the cluster is set with textContent: names and messages are anybody's.

const POLL_MS = 1000;
const PATIENCE_MS = 5000;
const SIGNS = { ready: "✓", blocked: "✗", pending: "…", deleting: "↓" };
const WORDS = { ready: "READY", blocked: "Blocked", pending: "Pending", deleting: "Deleting" };
const TRUTH = { True: ["true", "✓"], False: ["false", "✗"] };

const byId = (id) => document.getElementById(id);
const slot = (node, name) => node.querySelector(`[data-slot="${name}"]`);

let shown = null; // the last state
let etag = "";
let clockOffsetS = 0; // the twin's clock minus this browser's
let timer = 0;
let isAsking = false;

// --- texts ---

/** 4.2s, 42s, 3m7s, 5h, 3d: as kubectl shows ages, with tenths below ten seconds if exact. */
function duration(seconds, isExact = false) {
  const s = Math.max(0, seconds);
  if (isExact && s < 0.05) return "<0.1s";
  if (isExact && s < 9.95) return `${s.toFixed(1)}s`;
  const whole = isExact ? Math.round(s) : Math.floor(s);
  if (whole < 120) return `${whole}s`;
  const [minutes, hours, days] = [60, 3600, 86400].map((unit) => Math.floor(whole / unit));
  if (minutes < 10) return whole % 60 ? `${minutes}m${whole % 60}s` : `${minutes}m`;
  if (hours < 3) return `${minutes}m`;
  if (hours < 8) return minutes % 60 ? `${hours}h${minutes % 60}m` : `${hours}h`;
  return hours < 48 ? `${hours}h` : `${days}d`;
}

function usd(amount) {
  const digits = amount !== 0 && Math.abs(amount) < 1 ? 4 : 2;
  const format = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return `$${amount.toLocaleString("en-US", format)}`;
}

const rate = (perHour) => (perHour === null ? "price unknown" : `$${perHour.toFixed(2)}/h`);

// --- the document ---

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setData(node, key, value) {
  if (node.dataset[key] !== value) node.dataset[key] = value;
}

/** Set the texts of an element's slots. */
function fill(node, texts) {
  for (const [name, text] of Object.entries(texts)) setText(slot(node, name), text);
}

/** Make the children of `parent` those of `items`; an item that stays keeps its element. */
function sync(parent, items, template, keyOf, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  items.forEach((item, index) => {
    const key = String(keyOf(item, index));
    const node = known.get(key) ?? byId(template).content.firstElementChild.cloneNode(true);
    known.delete(key);
    node.dataset.key = key;
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
    update(node, item);
  });
  known.forEach((node) => node.remove());
}

function showSection(list, items, leftOut) {
  const section = list.closest("section");
  section.querySelector(".empty").hidden = items.length > 0;
  const table = section.querySelector(":scope > table");
  if (table) table.hidden = items.length === 0;
  const more = section.querySelector(".more");
  if (!more) return;
  more.hidden = !leftOut;
  setText(more, `${leftOut} more are not shown here; kubectl shows them.`);
}

// --- the parts of the page ---

function showTotals(state) {
  const { totals } = state;
  const all = totals.unpriced ? " + unknown" : "";
  setText(byId("total-ready"), `${totals.ready} of ${totals.workspaces}`);
  setText(byId("total-machines"), String(totals.machines));
  for (const id of ["total-rate", "sum-rate"]) setText(byId(id), rate(totals.usd_per_hour) + all);
  for (const id of ["total-cost", "sum-cost"]) setText(byId(id), usd(totals.usd) + all);
  setText(byId("about"), `${state.speed} × as fast as a real cloud, in ${state.region}`);
  byId("start").hidden = totals.workspaces > 0 || state.machines.length > 0;
  setText(byId("commands"), state.commands.join("\n"));
}

function showWorkspace(node, workspace, nowS) {
  const { outcome } = workspace;
  const tookS = workspace.ready_at_s === null ? null : workspace.ready_at_s - workspace.created_at_s;
  const took = outcome === "ready" && tookS !== null ? ` after ${duration(tookS, true)}` : "";
  fill(node, {
    name: workspace.name,
    outcome: `${SIGNS[outcome]} ${WORDS[outcome]}${took}`,
    namespace: workspace.namespace,
    model: (workspace.model || "–") + (workspace.mode === "tuning" ? " (tuning)" : ""),
    instance: workspace.instance_type || "–",
    age: duration(nowS - workspace.created_at_s),
  });
  setData(slot(node, "outcome"), "kind", outcome);
  const why = slot(node, "why");
  const reason = outcome === "blocked" ? `${workspace.reason}: ` : "";
  why.hidden = outcome === "ready" || !workspace.message;
  setText(why, reason + workspace.message);
  sync(slot(node, "conditions"), workspace.conditions, "condition-template",
    (one) => one.type, showCondition);
  showTimeline(node, workspace, nowS);
}

function showCondition(node, condition) {
  const [kind, sign] = TRUTH[condition.status] ?? ["unknown", "?"];
  setData(node, "kind", kind);
  setText(node.querySelector(".sign"), sign);
  fill(node, { type: condition.type, truth: `: ${condition.status}` });
  node.title = [condition.reason, condition.message].filter(Boolean).join(": ");
}

/** Bars from the creation to the last end; what still runs ends now. */
function showTimeline(node, workspace, nowS) {
  const { phases } = workspace;
  const startS = workspace.created_at_s;
  const endOf = (phase) => phase.end_s ?? Math.max(nowS, phase.start_s);
  const spanS = Math.max(0.001, ...phases.map((phase) => endOf(phase) - startS));
  node.querySelector(".timeline").hidden = phases.length === 0;
  sync(slot(node, "phases"), phases, "phase-template", (one) => `${one.name} ${one.start_s}`,
    (row, phase) => {
      const isRunning = phase.end_s === null;
      const lengthS = endOf(phase) - phase.start_s;
      fill(row, {
        name: phase.name,
        at: `+${duration(phase.start_s - startS, true)}`,
        took: duration(lengthS, true) + (isRunning ? "…" : ""),
      });
      row.title = phase.detail;
      const bar = row.querySelector(".span");
      setData(bar, "kind", isRunning ? "running" : "done");
      bar.style.marginInlineStart = `${((phase.start_s - startS) / spanS) * 100}%`;
      bar.style.inlineSize = `${(lengthS / spanS) * 100}%`;
    });
}

function showMachine(node, machine) {
  fill(node, {
    name: machine.name,
    workspace: machine.workspace,
    instance: machine.instance_type,
    gpus: machine.gpus,
    zone: machine.zone || "–",
    state: machine.state,
    phase: machine.phase,
    node: machine.node || "–",
    rate: machine.released_at_s === null ? rate(machine.usd_per_hour) : "–",
    cost: machine.usd_per_hour === null ? "price unknown" : usd(machine.usd),
  });
  setData(slot(node, "state"), "kind", machine.state.toLowerCase());
}

function showMemory(node, machine) {
  const { memory } = machine;
  const each = memory.gpus > 1 ? `each of ${memory.gpus} × ` : "";
  const cached = memory.cached_tokens
    ? `; caches ${memory.cached_tokens.toLocaleString("en-US")} tokens` : "";
  fill(node, {
    title: machine.name,
    use: memory.in_use ? "✓ in use" : "… planned",
    of: `${each}${memory.gpu}, ${memory.total}; ${memory.engine}${cached}`,
  });
  setData(slot(node, "use"), "kind", memory.in_use ? "ready" : "pending");
  setData(node, "use", memory.in_use ? "now" : "planned");
  const bar = slot(node, "bar");
  const described = memory.parts.map((part) => `${part.name} ${part.size}`).join(", ");
  bar.setAttribute("aria-label", `${memory.total} of ${machine.name}: ${described}`);
  const pieces = [...bar.children];
  memory.parts.forEach((part, index) => {
    const piece = pieces[index] ?? bar.appendChild(document.createElement("span"));
    setData(piece, "kind", part.kind);
    piece.style.flexGrow = String(part.bytes / memory.total_bytes);
    setText(piece, part.bytes / memory.total_bytes > 0.12 ? part.name : "");
    piece.title = `${part.name} ${part.size}`;
  });
  pieces.slice(memory.parts.length).forEach((piece) => piece.remove());
  sync(slot(node, "parts"), memory.parts, "part-template", (part) => part.kind, (row, part) => {
    setData(row, "kind", part.kind);
    fill(row, { name: part.name, size: part.size, detail: part.detail });
  });
  slot(node, "assumptions").hidden = memory.assumed.length === 0;
  setText(slot(node, "assumed"), memory.assumed.join("; "));
}

function showEvent(node, event, nowS) {
  const isWarning = event.type === "Warning";
  fill(node, {
    age: `${duration(nowS - event.at_s)} ago`,
    type: isWarning ? "⚠ Warning" : event.type,
    reason: event.reason,
    object: event.name,
    kind: event.kind,
    message: event.message,
    count: event.count > 1 ? `${event.count} times` : "",
  });
  setData(slot(node, "type"), "kind", isWarning ? "warning" : "normal");
}

function show(state, nowS) {
  showTotals(state);
  const { workspaces, machines, events, left_out: leftOut } = state;
  sync(byId("workspace-list"), workspaces, "workspace-template", (one) => one.uid,
    (node, one) => showWorkspace(node, one, nowS));
  showSection(byId("workspace-list"), workspaces, leftOut.workspaces);
  sync(byId("machine-list"), machines, "machine-template",
    (one) => `${one.name} ${one.ordered_at_s}`, showMachine);
  showSection(byId("machine-list"), machines, leftOut.machines);
  const holding = machines.filter((one) => one.memory);
  sync(byId("memory-list"), holding, "memory-template", (one) => one.name, showMemory);
  showSection(byId("memory-list"), holding, 0);
  sync(byId("event-list"), events, "event-template", (one) => one.uid,
    (node, one) => showEvent(node, one, nowS));
  showSection(byId("event-list"), events, leftOut.events);
}

// --- asking ---

function showStatus(kind, text) {
  const status = byId("status");
  setData(status, "kind", kind);
  setData(document.body, "kind", kind);
  setText(status, text);
}

async function ask() {
  const headers = etag ? { "If-None-Match": etag } : {};
  const options = { headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) };
  const response = await fetch("-/state", options);
  if (response.status === 304) return;
  if (!response.ok) throw new Error(`the twin answers ${response.status}`);
  shown = await response.json();
  clockOffsetS = shown.now_s - Date.now() / 1000;
  etag = response.headers.get("ETag") ?? "";
}

async function turn() {
  if (isAsking || document.hidden) return;
  clearTimeout(timer);
  isAsking = true;
  try {
    await ask();
    show(shown, Date.now() / 1000 + clockOffsetS);
    showStatus("live", "Live");
  } catch (error) {
    showStatus("lost", "The twin does not answer; asking again");
    console.warn(error);
  } finally {
    isAsking = false;
    timer = setTimeout(turn, POLL_MS);
  }
}

document.addEventListener("visibilitychange", turn);
turn();
