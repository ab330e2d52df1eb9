"use strict";
// The page: asks for the figures every other second, and writes them. What a client has sent is text, never HTML.

const PERIOD = 2000;  // milliseconds
const TIMEOUT = 5000;
const at = (id) => document.getElementById(id);

const STATES = {
  up: "good", ready: "good", degraded: "warn", unknown: "open", starting: "warn", "giving notice": "warn",
  draining: "warn", unreachable: "bad", stopped: "bad",
};
const LEVELS = { ok: "good", warning: "warn", error: "bad" };
const word = (state) => [STATES[state] || "warn", state];

let bounds = [0.005, 10];
const wait = (value) => latency(value, bounds);
const column = (name) => (columns) => columns[name];

const plots = new Plots(at("plots"), at("moment"), [
  { title: "Requests", format: rate, least: 1,
    series: [["all", column("requests")], ["4xx", column("refused")], ["5xx", column("failed")]] },
  { title: "Time to first byte", format: wait, least: 0.01,
    series: [["median", column("p50")], ["95 %", column("p95")], ["99 %", column("p99")]] },
  { title: "Requests under way", format: count, least: 4,
    series: [["under way", column("in_flight")], ["waiting for an upstream", column("waiting")]] },
  { title: "Open WebSockets", format: count, least: 4,
    series: [["all", (c) => c.tunnelled.map((value, index) => value + c.handed_off[index])],
      ["in tunnels", column("tunnelled")]] },
  { title: "Bytes through the gateway", format: byteRate, least: KIB, unit: KIB ** 4,
    series: [["to clients", column("sent")], ["from clients", column("received")]] },
  { title: "Event loop late by", format: seconds, least: 0.02, series: [["at most", column("lag")]] },
]);

const upstreams = new Table(at("upstreams"), "upstreams-title", [
  { label: "Upstream", kind: "text", text: (u) => u.sub ? u.url : u.name },
  { label: "Address", kind: "text", text: (u) => u.sub ? MISSING : where(u.addresses) },
  { label: "State", text: (u) => word(u.state) },
  { label: "For", kind: "number", text: (u) => age(u.for_seconds) },
  { label: "Under way", kind: "number", text: (u) => count(u.in_flight) },
  { label: "Waiting", kind: "number", text: (u) => count(u.waiting) },
  { label: "Requests", kind: "number", text: (u) => rate(u.requests_per_second) },
  { label: "5xx", kind: "number", text: (u) => rate(u.failed_per_second) },
  { label: "Median", kind: "number", text: (u) => u.sub ? MISSING : wait(u.p50) },
  { label: "95 %", kind: "number", text: (u) => u.sub ? MISSING : wait(u.p95) },
], "There are no upstreams.");

const routes = new Table(at("routes"), "routes-title", [
  { label: "Rule", kind: "text", text: (r) => r.name },
  { label: "Takes", kind: "text", text: (r) => r.takes },
  { label: "To", text: (r) => r.upstream },
  { label: "Requests", kind: "number", text: (r) => rate(r.requests_per_second) },
  { label: "4xx", kind: "number", text: (r) => rate(r.refused_per_second) },
  { label: "5xx", kind: "number", text: (r) => rate(r.failed_per_second) },
  { label: "Median", kind: "number", text: (r) => wait(r.p50) },
  { label: "95 %", kind: "number", text: (r) => wait(r.p95) },
  { label: "Since the start", kind: "number", text: (r) => count(r.requests) },
], "Nothing was asked yet.");

const sockets = new Table(at("sockets"), "sockets-title", [
  { label: "Path", kind: "text", text: (s) => s.path },
  { label: "Client", kind: "text", text: (s) => s.client },
  { label: "Carried by", text: (s) => s.kind },
  { label: "Open for", kind: "number", text: (s) => age(s.age) },
  { label: "Last bytes", kind: "number", text: (s) => s.idle == null ? MISSING : `${age(s.idle)} ago` },
  { label: "From client", kind: "number", text: (s) => bytes(s.received) },
  { label: "To client", kind: "number", text: (s) => bytes(s.sent) },
], "No WebSocket is open, or none that was looked for.");

const clients = new Table(at("clients"), "clients-title", [
  { label: "Client", kind: "text", text: (c) => c.client },
  { label: "WebSockets", kind: "number", text: (c) => count(c.websockets) },
], "No client has one.");

const topics = new Table(at("topics"), "topics-title", [
  { label: "Topic", kind: "text", text: (t) => t.topic },
  { label: "Subscribers", kind: "number", text: (t) => count(t.subscribers) },
  { label: "Published", kind: "number", text: (t) => count(t.publications) },
  { label: "Last", kind: "number", text: (t) => t.idle == null ? MISSING : `${age(t.idle)} ago` },
], "No topic has a subscriber.");

// -- what is written

function notices(list) {
  const parent = at("notices");
  const shown = list.length ? list : [{ level: "ok", what: "Nothing needs attention.", advice: "" }];
  const now = JSON.stringify(shown);
  if (parent.dataset.shown === now) return;  // a screen reader speaks of what changes
  parent.dataset.shown = now;
  parent.replaceChildren(...shown.map(({ level, what, advice }) => {
    const line = element("p", `notice ${LEVELS[level] || "warn"}`);
    const text = element("span", "", line);
    element("b", "", text, what);
    text.append(advice);
    return line;
  }));
}

function bar(label, left, of) {
  const both = element("div", "");
  const line = element("p", "", both);
  element("span", "", line, label);
  element("span", "", line, of ? `${count(left)} left of ${count(of)}` : "none");
  const made = element("progress", "", both);
  made.max = of || 1;
  made.value = of ? of - left : 1;
  made.setAttribute("aria-label", `${label} that have ended`);
  return both;
}

function drain(left) {
  at("drain").hidden = !left;
  if (!left) return;
  write(at("drain-left"), `${age(left.seconds)} to the deadline; what is left then is cut.`
    + (left.answers ? ` ${count(left.answers)} answers are on the way to slow clients.` : ""));
  at("drain-bars").replaceChildren(bar("Requests", left.requests, left.of_requests),
    bar("Tunnels", left.tunnels, left.of_tunnels));
}

function pairs({ gateway, now, handoff, services, dash, sockets: open }) {
  const fallbacks = Object.entries(handoff.fallbacks).map(([cause, times]) => `${cause} ${count(times)}`);
  return [
    ["Version", `${gateway.version}, Python ${gateway.python}`],
    ["Process", `${gateway.pid}, since ${new Date(gateway.started * 1000).toLocaleString("en-GB")}`],
    ["Connections of clients", `${count(now.connections)} of ${count(gateway.most_connections)}`],
    ["Uploads under way", count(now.uploads)],
    ["Bytes that wait for slow clients", bytes(now.buffered)],
    ["Tasks of the event loop", count(now.tasks)],
    ["WebSockets handed over", `${count(handoff.handed_over)}, of which ${count(open.handed_off)} are open`],
    ["Carried by a tunnel instead", fallbacks.join(", ")],
    ["Dash", dash.summary],
    ...services.map(told),
  ];
}

function told({ url, problem, version, workers, missing, hub }) {
  if (problem) return [`Service at ${url}`, problem];
  const parts = [`version ${version}`, `${count(workers.length)} ${workers.length === 1 ? "process" : "processes"}`];
  if (missing.length) parts.push(`${count(missing.length)} do not answer`);
  if (hub) parts.push(`broker ${hub.broker}${hub.is_connected ? "" : " (not connected)"}`,
    `${count(hub.clients)} clients of the hub with ${count(hub.subscriptions)} subscriptions`);
  return [`Service at ${url}`, parts.join(", ")];
}

function facts(pairs) {
  const list = at("facts");
  const known = pairs.filter(([, value]) => value);
  while (list.children.length > known.length) list.lastChild.remove();
  known.forEach(([name, value], index) => {
    const group = list.children[index] || element("div", "", list);
    if (!group.firstChild) { element("dt", "", group); element("dd", "", group); }
    group.className = value.length > 60 ? "wide" : "";
    write(group.firstChild, name);
    write(group.lastChild, value);
  });
}

function where(addresses) {
  return addresses.length === 1 ? addresses[0].url : `${addresses.length} addresses`;
}

function withAddresses(list) {
  return list.flatMap((upstream) => [upstream,
    ...upstream.addresses.filter((_, __, all) => all.length > 1).map((address) => ({ ...address, sub: true }))]);
}

function socketsOpen({ tunnels, handed_off: handed, shown }, services) {
  const silent = services.find((service) => service.problem);
  const text = `${count(tunnels + handed)} are open: ${count(tunnels)} in tunnels, ${count(handed)} handed over to the service.`;
  const list = shown.length < tunnels + handed ? ` ${count(shown.length)} are listed.` : "";
  return text + list + (silent && handed ? ` Those that were handed over are not listed: ${silent.problem}.` : "");
}

function topicsThere({ total, is_exact: exact, shown }, services) {
  const silent = services.find((service) => service.problem);
  if (silent) return `Not all are known: ${silent.problem}.`;
  if (!total) return "";
  return `${count(total)}${exact ? "" : " or more"} have subscribers; those with most are listed.`;
}

function show(status) {
  const { gateway, history } = status;
  bounds = history.bounds;
  const [kind, state] = word(gateway.state);
  at("state").className = `state ${kind}`;
  write(at("state"), state);
  const bad = status.notices.filter((notice) => notice.level !== "ok");
  document.title = bad.length ? `${bad.length} to look at: gateway ${state}` : `Gateway ${state}`;
  write(at("about"), `${gateway.listen.join(", ") || "no longer listening"} on ${gateway.host}, up for ${age(gateway.uptime)}`);
  notices(status.notices);
  drain(status.drain);
  plots.draw(history.columns, history.interval, history.kept);
  upstreams.fill(withAddresses(status.upstreams));
  routes.fill(status.routes);
  write(at("sockets-count"), socketsOpen(status.sockets, status.services));
  sockets.fill(status.sockets.shown);
  write(at("clients-limit"), status.clients.limit == null ? "" : `One client may have ${count(status.clients.limit)}.`);
  clients.fill(status.clients.shown);
  write(at("topics-count"), topicsThere(status.topics, status.services));
  topics.fill(status.topics.shown, status.services.some((service) => service.problem) ? "Not known." : undefined);
  facts(pairs(status));
}

// -- when it asks

let timer = 0;
let asked = 0;
let answered = null;
let isPaused = false;

function address() {
  const choice = new FormData(at("choice"));
  return `?${new URLSearchParams([...choice].filter(([, value]) => value))}`;
}

async function ask() {
  clearTimeout(timer);
  const number = ++asked;
  let problem = "";
  try {
    const response = await fetch(location.pathname + address(), {
      headers: { Accept: "application/json" }, cache: "no-store", signal: AbortSignal.timeout(TIMEOUT),
    });
    const status = await response.json();
    if (number !== asked) return;  // another one was asked for meanwhile
    if (response.ok) { answered = new Date(); show(status); } else problem = status.error || `status ${response.status}`;
  } catch (error) {
    if (number !== asked) return;
    problem = "the gateway does not answer";
  }
  fresh(problem);
  if (!isPaused && !document.hidden) timer = setTimeout(ask, PERIOD);
}

function fresh(problem) {
  const when = answered ? `figures of ${clock(answered)}` : "no figures yet";
  write(at("fresh"), problem ? `${problem}; ${when}` : isPaused ? `paused; ${when}` : when);
  at("fresh").className = problem ? "word bad" : "quiet";
  if (problem && !answered) return;
  if (problem) document.title = `No answer: ${problem}`;
}

at("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  at("pause").setAttribute("aria-pressed", String(isPaused));
  if (isPaused) { clearTimeout(timer); fresh(""); } else ask();
});
at("choice").addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(ask, 200);  // not for each letter: the services are asked too
});
at("choice").addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("visibilitychange", () => { if (!document.hidden && !isPaused) ask(); });
at("command").textContent = `curl ${location.origin}${location.pathname}`;
ask();
