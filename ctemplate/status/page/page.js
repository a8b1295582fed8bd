"use strict";
// Shows the state of ctemplate. Whatever is registered anywhere gets into the page as text alone: no markup is ever made of it.

const HISTORY_STEP = 30;
const POLL_SECONDS = 5;
const state = { report: null, services: null, history: [], offset: 0, shown: HISTORY_STEP, search: "", open: new Map(), answered: 0 };

const find = (id) => document.getElementById(id);

// What cannot be seen, or would turn the text around it, is shown by its number.
const visible = (value) => String(value).replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\u2028\u2029]/gu, (found) => found === "\n" ? found : `\\u{${found.codePointAt(0).toString(16)}}`);

// An element with attributes and children; a text is always a text node.
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  const shown = children.filter((child) => child !== null && child !== undefined && child !== "");
  element.append(...shown.map((child) => (typeof child === "string" ? visible(child) : child)));
  return element;
}

const text = (value) => make("bdi", {}, String(value));

function fill(id, ...children) {
  find(id).replaceChildren(...children);
}

function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 172800) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} days`;
}

// Ages are counted by the clock of the server, as far as the last report tells it.
const now = () => (state.report ? state.report.at : Date.now() / 1000) + (performance.now() - state.answered) / 1000;

function moment(at, prefix = "", suffix = " ago") {
  const stamp = new Date(at * 1000);
  return make("time", { datetime: stamp.toISOString(), title: stamp.toLocaleString(), "data-at": at, "data-prefix": prefix, "data-suffix": suffix },
    `${prefix}${duration(Math.abs(now() - at))}${suffix}`);
}

function tick() {
  for (const each of document.querySelectorAll("time[data-at]")) {
    each.textContent = `${each.dataset.prefix}${duration(Math.abs(now() - Number(each.dataset.at)))}${each.dataset.suffix}`;
  }
}

const LEVELS = { info: "unknown", warning: "warn", error: "bad" };
const badge = (kind, words) => make("span", { class: `badge ${kind}` }, words);
const list = (sentences) => make("ul", {}, ...sentences.map((each) => make("li", {}, text(each))));

function groupKind(group) {
  if (group.state === "failed" || group.not_running) return "bad";
  return group.state === "applied" && !group.owes_reload && !group.refused_edit ? "good" : "warn";
}

// A diff, asked for when it is opened and shown from then on.
function diff(entry, key) {
  const body = make("pre", { tabindex: "0", "aria-label": "diff" }, "asking …");
  const details = make("details", {}, make("summary", {}, `Diff, ${entry.lines} lines`), body);
  const show = (lines) => body.replaceChildren(...lines.map((line) =>
    make("span", { class: /^(\+\+\+|---) \//.test(line) ? "place" : line.startsWith("+") ? "added" : line.startsWith("-") ? "removed" : line.startsWith("@@") ? "place" : undefined }, line || " ")));
  const load = async () => {
    if (!state.open.get(key)) {
      const found = await ask(`history?id=${entry.id}`);
      state.open.set(key, found && found.length ? found[0].diff || [] : ["it is no longer kept"]);
    }
    show(state.open.get(key));
  };
  details.addEventListener("toggle", () => {
    if (details.open) load(); else state.open.delete(key);
  });
  if (state.open.has(key)) {
    details.open = true;
    load();
  }
  return details;
}

function change(entry, key) {
  const parts = [];
  if (entry.causes && entry.causes.length) parts.push(make("p", { class: "quiet" }, "Cause"), list(entry.causes));
  else parts.push(make("p", { class: "quiet" }, "Cause: no data changed; a template, the configuration or the live file was edited, or ctemplate started"));
  if (entry.lines) parts.push(diff(entry, key));
  return parts;
}

function showGroup(group) {
  const last = state.history.find((entry) => entry.group === group.name && entry.lines);
  const card = make("article", { class: "card" },
    make("header", {}, make("h3", {}, text(group.name)), badge(groupKind(group), group.state),
      group.owes_reload ? badge("warn", "reload pending") : null, group.draining ? badge("unknown", `${group.draining} old ${group.draining === 1 ? "worker" : "workers"} draining`) : null),
    make("p", { class: "mono" }, text(group.files.join(" "))));
  if (group.error) card.append(make("p", { class: "bad message" }, text(group.error)));
  if (group.not_running) card.append(make("p", { class: "bad message" }, "nginx ", text(group.not_running)));
  if (group.refused_edit) card.append(make("p", { class: "bad message" }, "edit refused: ", text(group.refused_edit)));
  if (group.missing_count) card.append(make("p", {}, `waits for ${group.missing_count} answers: `, text(group.missing.join(", "))));
  if (group.last_applied_at) card.append(make("p", {}, moment(group.last_applied_at, "last change ")));
  else if (last) card.append(make("p", {}, moment(last.at, "last change ", " ago, before this start")));
  if (group.last_change.length) card.append(list(group.last_change));
  if (last) card.append(...change(last, `group ${group.name}`));
  return card;
}

function releaseCommand(names) {
  const safe = names.filter((name) => /^[\w.-]+$/.test(name));
  return make("code", {}, text(safe.length ? `ctemplate release ${safe[0]}` : "ctemplate release"));
}

function showHeld(report) {
  const parts = report.holds.map((hold) => make("article", { class: "card" },
    make("h3", {}, text(hold.query)),
    make("p", {}, `${hold.entries} held: `, text(hold.reason)),
    make("p", {}, moment(hold.since, "for ", ""), hold.until ? moment(hold.until, ", at most for another ", "") : ", until its cause ends",
      ...(hold.cause === "denied" ? ["; ", make("code", {}, "ctemplate doctor"), " says which right the token lacks"]
        : ["; if the loss is real: ", releaseCommand(hold.services || [])]))));
  if (report.unverified.length) {
    parts.push(make("article", { class: "card" }, make("h3", {}, "Empty first answers that are not accepted"), list(report.unverified)));
  }
  for (const group of report.groups) {
    if (group.restored) parts.push(make("article", { class: "card" }, make("h3", {}, "Group ", text(group.name)),
      make("p", {}, "held as restored from ", text(group.restored), "; to render it again: ", releaseCommand([]))));
    if (!group.left_out.length) continue;
    const shown = group.left_out.slice(0, 100);
    const rows = shown.map((each) => make("li", {}, badge("warn", each.is_kept ? "last good data" : "left out"), " ", text(each.reason),
      each.is_kept ? make("span", {}, "; to apply the newest: ", releaseCommand([each.service])) : null));
    const more = group.left_out.length - shown.length;
    parts.push(make("article", { class: "card" }, make("h3", {}, "Group ", text(group.name)), make("ul", {}, ...rows), more ? make("p", {}, `and ${more} more`) : null));
  }
  fill("held-list", ...(parts.length ? parts : [make("p", { class: "quiet" }, "nothing is held, nothing is left out")]));
  const names = report.releasable || [];
  find("release").hidden = !(names.length && report.can_release);
  find("release-hint").hidden = !names.length || report.can_release;
  find("release-hint").textContent = "To release from this page, configure [status] token_file; on the host, ctemplate release does it.";
  const select = find("release-service");
  const wanted = ["", ...names];
  if ([...wanted, ""].join("\n") !== [...select.options].map((option) => option.value).join("\n")) {
    const chosen = select.value;
    select.replaceChildren(...wanted.map((name) => make("option", { value: name }, name || "(choose)")), make("option", { value: "", "data-all": true }, "everything"));
    select.value = wanted.includes(chosen) ? chosen : "";
  }
}

function showSource(report) {
  const source = report.source;
  const counts = report.queries.map((each) => `${each.count} ${each.kind} ${each.state}`).join(", ") || "none";
  const row = (name, ...value) => [make("dt", {}, name), make("dd", {}, ...value)];
  fill("source-list", ...row("source", text(source.name)),
    ...row("answers", source.data_age ? badge("warn", `up to ${duration(source.data_age)} old`) : badge("good", "current")),
    ...row("queries", counts), ...row("connections", String(source.connections)),
    ...row("configuration", moment(report.configuration.read_at, "read "), report.configuration.refused ? make("p", { class: "bad message" }, "a later edit is not in use: ", text(report.configuration.refused)) : ""),
    ...row("internal errors", String(report.internal_errors)), ...row("event loop", `late by ${(report.loop_lag * 1000).toFixed(0)} ms`));
  fill("outage-list", ...source.outages.map((each) => make("li", {}, badge("bad", each.cause), " ", text(each.subject), ` ${each.queries} queries, `, moment(each.since, "for ", ""))));
}

function showReport() {
  const report = state.report;
  const verdict = find("verdict");
  verdict.textContent = report.is_ready ? "ready" : "not ready";
  verdict.className = `badge ${report.is_ready ? "good" : "bad"}`;
  document.title = `${report.is_ready ? "ready" : "NOT READY"} · ctemplate`;
  fill("about", text(report.ctemplate), `, process ${report.pid}, `, moment(report.started_at, "up ", ""));
  find("problems").hidden = report.is_ready;
  fill("problem-list", ...report.problems.map((each) => make("li", { class: "message" }, text(each))));
  fill("group-list", ...report.groups.map(showGroup));
  showHeld(report);
  showSource(report);
}

function showInstance(each) {
  const kind = each.status === "passing" ? "good" : each.status === "critical" ? "bad" : "warn";
  const cell = (label, ...children) => make("td", { "data-label": label }, ...children);
  return make("tr", {}, cell("address", make("span", { class: "mono" }, text(each.address))), cell("state", badge(kind, each.status), each.is_held ? badge("warn", "held") : null),
    cell("weight", String(each.weight)), cell("node", text(each.node)), cell("instance", text(each.id)), cell("checks that fail", text(each.checks.join(", "))));
}

function showService(service) {
  const counts = ["passing", "warning", "critical", "maintenance", "held"].filter((name) => service[name]).map((name) => `${service[name]} ${name}`);
  const total = service.passing + service.warning + service.critical + service.maintenance;
  const kind = !total || service.critical === total ? "bad" : service.passing === total && !service.held ? "good" : "warn";
  const key = `service ${service.query}`;
  const details = make("details", {}, make("summary", {}, make("strong", {}, text(service.query)), " ", badge(kind, counts.join(", ") || "no instance")));
  const head = make("thead", {}, make("tr", {}, ...["address", "state", "weight", "node", "instance", "checks that fail"].map((name) => make("th", { scope: "col" }, name))));
  const build = () => {
    if (details.childElementCount > 1) return;
    details.append(make("table", {}, head, make("tbody", {}, ...service.instances.map(showInstance))));
    if (total > service.instances.length) details.append(make("p", {}, `and ${total - service.instances.length} more instances`));
  };
  details.addEventListener("toggle", () => {
    if (details.open) { state.open.set(key, true); build(); } else state.open.delete(key);
  });
  if (state.open.has(key)) { build(); details.open = true; }
  return details;
}

function showServices() {
  const page = state.services;
  const last = page.offset + page.services.length;
  fill("service-count", page.matching ? `${page.offset + 1} to ${last} of ${page.matching}${page.matching === page.total ? "" : ` that match, of ${page.total}`}; those that lack health first` : page.total ? `none of ${page.total} matches` : "no template asks for instances of a service");
  fill("service-list", ...page.services.map(showService));
  find("before").disabled = page.offset === 0;
  find("after").disabled = last >= page.matching;
}

function showHistory() {
  const kind = find("history-kind").value;
  const wanted = state.history.filter((entry) => kind === "changes" ? entry.lines : kind === "trouble" ? entry.level !== "info" : true);
  fill("history-list", ...wanted.slice(0, state.shown).map((entry) => make("li", {}, moment(entry.at), " ", badge(LEVELS[entry.level] || "unknown", entry.event.replaceAll("_", " ")), " ",
    make("span", { class: "message" }, text(entry.text)), ...(entry.lines ? change(entry, `entry ${entry.id}`) : []))));
  find("more-history").hidden = wanted.length <= state.shown;
}

async function ask(path) {
  const reply = await fetch(path, { cache: "no-store", credentials: "omit" });
  if (!reply.ok) throw new Error(`${path}: ${reply.status}`);
  return reply.json();
}

let isAsking = false;
let isStale = false;

// Asks for everything that is shown; what changes meanwhile is asked for once more afterwards.
async function refresh() {
  if (isAsking) { isStale = true; return; }
  isAsking = true;
  isStale = false;
  try {
    const [report, services, history] = await Promise.all([ask("status"), askServices(), ask("history")]);
    state.report = report;
    state.answered = performance.now();
    state.history = history;
    state.services = services;
    keepFocus(() => { showReport(); showServices(); showHistory(); });
    fill("link");
  } catch (error) {
    const verdict = find("verdict");
    verdict.textContent = "no answer";
    verdict.className = "badge bad";
    document.title = "NO ANSWER · ctemplate";
    fill("link", "what is shown may be old: ctemplate does not answer");
  } finally {
    isAsking = false;
    if (isStale) setTimeout(refresh, 500);
  }
}

const askServices = () => ask(`services?q=${encodeURIComponent(state.search)}&offset=${state.offset}`);

// What is drawn anew loses the focus of the keyboard; give it back to the element at the same place.
function keepFocus(draw) {
  const active = document.activeElement;
  const inside = ["group-list", "held-list", "service-list", "history-list"].find((id) => find(id).contains(active));
  const focusable = (id) => [...find(id).querySelectorAll("summary, a, button, pre")];
  const at = inside ? focusable(inside).indexOf(active) : -1;
  draw();
  if (at >= 0) focusable(inside)[at]?.focus({ preventScroll: true });
}

async function searched() {
  try {
    state.services = await askServices();
    keepFocus(showServices);
  } catch (error) {
    refresh();
  }
}

async function release(event) {
  event.preventDefault();
  const chosen = find("release-service").selectedOptions[0];
  const service = chosen && "all" in chosen.dataset ? null : chosen?.value;
  const result = find("release-result");
  if (service === "" || service === undefined) { result.textContent = "choose what to release"; return; }
  const reply = await fetch("release", {
    method: "POST",
    credentials: "omit",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${find("release-token").value}` },
    body: JSON.stringify({ service }),
  }).catch(() => null);
  if (!reply) { result.textContent = "ctemplate does not answer"; return; }
  const said = await reply.json();
  result.textContent = said.error ? said.error : said.released && said.released.length ? `released: ${said.released.join(", ")}` : "nothing of it was held";
  if (reply.ok) find("release-token").value = "";
  refresh();
}

// Changes are told by the stream; where there is none, the page asks every few seconds.
function follow() {
  let polling = null;
  const poll = () => { polling = polling || setInterval(refresh, POLL_SECONDS * 1000); };
  const stream = new EventSource("stream");
  stream.addEventListener("change", refresh);
  stream.addEventListener("open", () => { clearInterval(polling); polling = null; });
  stream.addEventListener("error", () => {
    poll();
    refresh();
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => { clearInterval(polling); follow(); }, 30000);
  });
}

let typing = null;
find("search").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(() => { state.search = event.target.value.trim(); state.offset = 0; searched(); }, 200);
});
find("before").addEventListener("click", () => { state.offset = Math.max(0, state.offset - 50); searched(); });
find("after").addEventListener("click", () => { state.offset += 50; searched(); });
find("history-kind").addEventListener("change", () => { state.shown = HISTORY_STEP; showHistory(); });
find("more-history").addEventListener("click", () => { state.shown += HISTORY_STEP; keepFocus(showHistory); });
find("release").addEventListener("submit", release);
document.addEventListener("keydown", (event) => {
  const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
  if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    find("search").focus();
  }
});
setInterval(tick, 1000);
refresh();
follow();
