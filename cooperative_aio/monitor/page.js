"use strict";

const EVERY = 500; // milliseconds between two looks
const SHOWN = 60; // seconds in the plot
const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);

let samples = []; // [when it was due, how late it was], in seconds
let before = new Map(); // CPU seconds and steps at the last look, by what they are of
let lookedAt = null; // by the server's clock
let token = "";
const stalls = []; // what held the loop, oldest first
let failed = 0; // the number of the last failure that is known

// Text goes into the page as text only.
function make(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name === "text") element.textContent = value;
    else if (name === "class") element.className = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

function duration(seconds) {
  if (seconds < 0.9995e-3) return `${(seconds * 1e6).toFixed(0)} µs`;
  if (seconds < 0.9995) return `${(seconds * 1e3).toPrecision(seconds < 0.01 ? 2 : 3)} ms`;
  return `${seconds.toFixed(2)} s`;
}

const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;

function figures(list, entries) {
  if (list.children.length !== entries.length) {
    list.replaceChildren(...entries.map(([term]) =>
      make("div", {}, make("dt", { text: term }), make("dd"))));
  }
  entries.forEach(([, value], index) => setText(list.children[index].lastChild, value));
}

// The plot: seconds ago against the logarithm of the lag

function drawLag(now) {
  const plot = byId("plot");
  const width = plot.clientWidth || 600;
  const height = plot.clientHeight || 150;
  const left = 48, bottom = 18, top = 8;
  const lowest = Math.log10(1e-4);
  const highest = Math.log10(Math.max(0.1, ...samples.map((sample) => sample[1] * 1.2)));
  const x = (when) => left + (width - left) * (1 - (now - when) / SHOWN);
  const y = (lag) => {
    const part = (Math.log10(Math.max(lag, 1e-4)) - lowest) / (highest - lowest);
    return height - bottom - part * (height - bottom - top);
  };
  const parts = [];
  const add = (tag, attributes, text) => {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text) element.textContent = text;
    parts.push(element);
  };
  for (const lag of [1e-4, 1e-3, 1e-2, 0.1, 1, 10]) {
    if (Math.log10(lag) > highest + 1e-9) break;
    add("line", { class: "grid", x1: left, x2: width, y1: y(lag), y2: y(lag) });
    add("text", { x: left - 6, y: y(lag) + 4, "text-anchor": "end" },
      lag < 1e-3 ? "0.1 ms" : lag < 1 ? `${lag * 1e3} ms` : `${lag} s`);
  }
  for (const [ago, anchor] of [[60, "start"], [40, "middle"], [20, "middle"], [0, "end"]]) {
    add("text", { x: x(now - ago), y: height - 3, "text-anchor": anchor },
      ago ? `${ago} s ago` : "now");
  }
  const shown = samples.filter(([when]) => when >= now - SHOWN);
  if (shown.length > 1) {
    const points = shown.map(([when, lag]) => `${x(when).toFixed(1)},${y(lag).toFixed(1)}`);
    const [first, last] = [x(shown[0][0]), x(shown[shown.length - 1][0])];
    const floor = height - bottom;
    add("polygon", { class: "area", points: `${first},${floor} ${points.join(" ")} ${last},${floor}` });
    add("polyline", { class: "curve", points: points.join(" ") });
  }
  for (const { due, late, holder } of stalls) {
    if (due < now - SHOWN) continue;
    add("circle", { class: "spike", cx: x(due), cy: y(late), r: 4 });
    const title = document.createElementNS(SVG, "title");
    title.textContent = `${duration(late)}: ${holder}`;
    parts[parts.length - 1].append(title);
  }
  plot.setAttribute("viewBox", `0 0 ${width} ${height}`);
  plot.replaceChildren(...parts);
  const lags = shown.map(([, lag]) => lag).sort((a, b) => a - b);
  const at = (part) => lags.length ? duration(lags[Math.floor((lags.length - 1) * part)]) : "–";
  figures(byId("lag-figures"), [
    ["now", shown.length ? duration(shown[shown.length - 1][1]) : "–"],
    ["median", at(0.5)], ["99th percentile", at(0.99)], ["longest", at(1)],
  ]);
}

// Cooperators and their tasks

function rate(key, value, elapsed) {
  const old = before.get(key);
  before.set(key, value);
  return old === undefined || !elapsed ? null : Math.max(0, value - old) / elapsed;
}

function sectionOf(name) {
  const all = byId("cooperators");
  let section = [...all.children].find((child) => child.dataset.name === name);
  if (!section) {
    const row = make("tr", {}, ...[
      ["name", "task"], ["state", "state"], ["where", "where"], ["number", "age"],
      ["number", "in the queue"], ["number", "steps"], ["number", "steps/s"], ["number", "CPU"],
      ["number", "last 10 s"], ["share", "share of the loop"], ["actions", ""],
    ].map(([kind, text]) => make("th", { class: kind, scope: "col", text })));
    section = make("section", {},
      make("h2", { text: name }, make("small")),
      make("dl", { class: "figures" }),
      make("table", { class: "tasks" }, make("thead", {}, row), make("tbody")),
      make("p", { class: "empty" }),
      make("table", { class: "groups" },
        make("thead", {}, make("tr", {}, ...["group", "tasks", "ended", "CPU"].map((text, i) =>
          make("th", { scope: "col", class: i ? "number" : "name", text })))),
        make("tbody")));
    section.dataset.name = name;
    all.append(section);
  }
  return section;
}

function showCooperator(cooperator, elapsed, mayChange) {
  const section = sectionOf(cooperator.name);
  const numbers = cooperator.statistics;
  const key = `cooperator ${cooperator.name}`;
  const share = rate(`${key} cpu`, numbers.cpu_time, elapsed);
  const steps = rate(`${key} steps`, numbers.steps, elapsed);
  setText(section.querySelector("h2 small"),
    `${cooperator.running ? "running" : "not running"} · ${cooperator.time_slice}`);
  const mean = (seconds) => seconds === null ? "–" : duration(seconds);
  const step = (seconds, name) => name === null ? "–" : `${duration(seconds)} · ${name}`;
  figures(section.querySelector("dl"), [
    ["ready", whole.format(numbers.ready)], ["paused", whole.format(numbers.paused)],
    ["waiting", whole.format(numbers.waiting)],
    ...["finished", "failed", "cancelled", "stopped", "refused"].map(
      (name) => [name, whole.format(numbers[name])]),
    ["mean duration", mean(numbers.mean_duration)],
    ["mean time in the queue", mean(numbers.mean_queued)],
    ["share of the loop", share === null ? "–" : percent(share)],
    ["steps/s", steps === null ? "–" : compact.format(steps)],
    ["CPU", duration(numbers.cpu_time)], ["garbage collection", duration(numbers.collector_time)],
    ["longest tick", duration(numbers.longest_tick)],
    ["longest step, last minute", step(numbers.recent_longest_step, numbers.recent_longest_step_task)],
    ["longest step of all", step(numbers.longest_step, numbers.longest_step_task)],
  ]);
  const body = section.querySelector("tbody");
  const rows = new Map([...body.children].map((row) => [row.dataset.number, row]));
  const wanted = cooperator.tasks.map((task) => {
    const row = rows.get(String(task.number)) || makeRow(task);
    showTask(row, task, elapsed, mayChange);
    return row;
  });
  // While a pointer or the keyboard is in the table, no row moves away from under it.
  const kept = body.matches(":hover, :focus-within") && wanted.length === body.children.length
    && wanted.every((row) => row.parentNode === body);
  if (!kept && (wanted.length !== body.children.length
    || wanted.some((row, i) => row !== body.children[i]))) {
    body.replaceChildren(...wanted);
  }
  section.querySelector("table").hidden = !wanted.length;
  showGroups(section.querySelector("table.groups"), cooperator.groups);
  section.querySelector("th.actions").hidden = !mayChange;
  const hidden = cooperator.found - wanted.length;
  const note = section.querySelector(".empty");
  note.hidden = wanted.length > 0 && hidden <= 0;
  setText(note, wanted.length ? `and ${whole.format(hidden)} more, further down in this order`
    : cooperator.count ? `none of ${whole.format(cooperator.count)} unfinished tasks is found`
      : "no unfinished task");
  return section;
}

function showGroups(table, groups) {
  table.hidden = !groups.length;
  table.lastChild.replaceChildren(...groups.map((group) => make("tr", {},
    make("td", { class: "name", text: group.name }),
    ...[whole.format(group.tasks), whole.format(group.ended), duration(group.cpu_time)].map(
      (text, i) => make("td", { class: "number", "data-unit": ["tasks", "ended", "CPU"][i], text })))));
}

function showPlaces(places) {
  byId("places").hidden = !places.length;
  const count = (value) => value === null ? "–" : whole.format(value);
  const body = byId("places").querySelector("tbody");
  body.replaceChildren(...places.map((place) => make("tr", {},
    make("td", { class: "name", text: place.name }),
    make("td", { class: "number", text: `${count(place.running)} of ${count(place.limit)}` }),
    make("td", { class: "number", text: count(place.queued) }),
    make("td", { class: "number", text: count(place.ended) }),
    make("td", { class: "number", text: count(place.deaths) }),
    make("td", { text: place.workers.map(({ pid, busy, memory }) => [
      `${pid ?? "?"}`, busy ? "busy" : "idle", ...memory === null ? [] : [`${compact.format(memory)}B`],
    ].join(" ")).join(", ") || "–" }))));
}

// A note that can be opened, newest first; no more than the server remembers.
function addNote(place, summary, text) {
  const note = make("details", {}, make("summary", {}, ...summary), make("pre", { text }));
  place.hidden = false;
  place.querySelector("h2, h3").after(note);
  while (place.querySelectorAll("details").length > 20) place.lastElementChild.remove();
}

function addNotes(state) {
  const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString();
  for (const stall of state.stalls) {
    stalls.push(stall);
    const when = clock(Date.now() / 1000 - (state.now - stall.due));
    addNote(byId("stalls"), [make("time", { text: when }), " ",
      make("b", { text: duration(stall.late) }), ` ${stall.holder}, `,
      make("small", { text: stall.place })], stall.stack);
  }
  stalls.splice(0, stalls.length - 20);
  for (const failure of state.failures) {
    failed = failure.number;
    addNote(byId("failures"), [make("time", { text: clock(failure.when) }), " ",
      make("b", { text: failure.task }), ` ${failure.summary} `,
      make("small", { text: `${failure.cooperator}, after ${whole.format(failure.steps)} steps` })],
    failure.traceback);
  }
}

function makeRow(task) {
  const row = make("tr", {},
    make("td", { class: "name" }, make("span"), make("small", { class: "key" })),
    make("td", { class: "state" }),
    make("td", { class: "where" }, make("span"), make("br"), make("small")),
    ...["old", "in the queue", "steps", "steps/s", "CPU", "in the last 10 s"].map(
      (unit) => make("td", { class: "number", "data-unit": unit })),
    make("td", { class: "share" }, make("meter", { min: 0, max: 1 }), make("span")),
    make("td", { class: "actions" }));
  row.dataset.number = task.number;
  const pause = make("button", { type: "button" });
  pause.addEventListener("click", () => act(task.number, pause.dataset.action));
  const stop = make("button", { type: "button", text: "stop", "data-action": "stop" });
  stop.addEventListener("click", () => {
    if (stop.classList.contains("sure")) act(task.number, "stop");
    stop.classList.add("sure");
    stop.textContent = "sure?";
    setTimeout(() => { stop.classList.remove("sure"); stop.textContent = "stop"; }, 3000);
  });
  row.lastChild.append(pause, stop);
  return row;
}

function showTask(row, task, elapsed, mayChange) {
  const [name, state, where, age, queued, steps, speed, cpu, recent, share, actions] = row.children;
  setText(name.firstChild, task.name);
  setText(name.lastChild, task.group === null ? "" : ` ${task.group}`);
  setText(age, task.age === null ? "–" : duration(task.age));
  setText(queued, task.queued === null ? "–" : duration(task.queued));
  setText(recent, task.recent === null ? "–" : duration(task.recent));
  setText(state, task.paused && task.state !== "paused" ? `${task.state}, paused` : task.state);
  state.dataset.state = task.state;
  const inner = task.where[task.where.length - 1];
  setText(where.children[0], task.where.length
    ? task.where.map((frame) => frame.function).join(" › ") : task.iterator);
  setText(where.children[2], inner ? `${inner.file.split(/[\\/]/).pop()}:${inner.line}` : "");
  where.title = task.where.map((f) => `${f.function} at ${f.file}:${f.line}`).join("\n");
  setText(steps, whole.format(task.steps));
  const stepsPerSecond = rate(`${task.number} steps`, task.steps, elapsed);
  setText(speed, stepsPerSecond === null ? "–" : compact.format(stepsPerSecond));
  setText(cpu, duration(task.cpu_time));
  const part = rate(`${task.number} cpu`, task.cpu_time, elapsed);
  share.firstChild.value = part || 0;
  setText(share.lastChild, part === null ? "–" : percent(part));
  share.title = `weight ${task.weight}`;
  actions.hidden = !mayChange;
  const pause = actions.firstChild;
  pause.dataset.action = task.paused ? "resume" : "pause";
  setText(pause, pause.dataset.action);
}

// Asking the server

function complain(text) {
  byId("message").hidden = !text;
  setText(byId("message"), text || "");
}

async function act(number, action) {
  try {
    const response = await fetch(`tasks/${number}/${action}`, {
      method: "POST", headers: { Authorization: `Bearer ${token}` },
    });
    complain(response.ok ? "" : `cannot ${action}: ${(await response.json()).error}`);
  } catch (error) {
    complain(`cannot ${action}: ${error.message}`);
  }
  await look();
}

async function look() {
  let state;
  try {
    const query = new URLSearchParams({
      sort: byId("sort").value, search: byId("search").value, failed,
      held: stalls.length ? stalls[stalls.length - 1].number : 0,
    });
    if (samples.length) query.set("since", samples[samples.length - 1][0]);
    const response = await fetch(`state?${query}`, {
      cache: "no-store", headers: token ? { Authorization: `Bearer ${token}` } : {},
    });
    state = await response.json();
    if (response.status === 401) byId("token").hidden = false;
    if (!response.ok) throw new Error(state.error);
  } catch (error) {
    byId("link").dataset.state = "lost";
    setText(byId("link"), `no connection: ${error.message}`);
    return;
  }
  const elapsed = lookedAt === null ? null : state.now - lookedAt;
  if (elapsed !== null && elapsed < -5) location.reload(); // another program
  if (elapsed !== null && elapsed < 0.05) return; // a newer answer was faster, or came just now
  lookedAt = state.now;
  const latest = samples.length ? samples[samples.length - 1][0] : -Infinity;
  samples.push(...state.lag.samples.filter(([when]) => when > latest));
  samples = samples.filter(([when]) => when > state.now - SHOWN - 5);
  const old = before;
  addNotes(state);
  drawLag(state.now);
  showPlaces(state.places);
  const sections = new Set(
    state.cooperators.map((one) => showCooperator(one, elapsed, state.may_change)));
  for (const section of [...byId("cooperators").children]) {
    if (!sections.has(section)) section.remove();
  }
  if (old.size > 20000) before = new Map(); // of tasks that have long ended
  byId("token").hidden = !state.may_change && !token;
  byId("link").dataset.state = "live";
  setText(byId("link"), "live");
}

async function keepLooking() {
  for (;;) {
    if (!document.hidden) await look();
    await new Promise((resolve) => setTimeout(resolve, EVERY));
  }
}

// The token may come behind the #, which no server is sent; it is not left there.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given !== null) {
  token = given;
  history.replaceState(null, "", location.pathname + location.search);
}
const field = byId("token").querySelector("input");
field.value = token;
field.addEventListener("input", () => { token = field.value.trim(); });
byId("choice").addEventListener("submit", (event) => event.preventDefault());
for (const name of ["search", "sort"]) byId(name).addEventListener("input", look);
addEventListener("resize", () => { if (lookedAt !== null) drawLag(lookedAt); });
keepLooking();
