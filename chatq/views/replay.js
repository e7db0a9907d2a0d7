"use strict";
// Shows one step of the scene. All that can ever be shown is in the page, each part with the step
// from which on it stands, and the one at which it no longer does: the rest is hidden here.

const by = (id) => document.getElementById(id);
const [slider, play, now, table] = ["step", "play", "now", "table"].map(by);
const [FIRST, LAST] = [Number(slider.min), Number(slider.max)];
const BEFORE = Number(now.dataset.first); // what the reader calls the first step
const facts = [...by("facts").children];
const timed = [...document.querySelectorAll("[data-from], [data-until]")].map((part) => {
  const { from = -Infinity, until = Infinity } = part.dataset;
  return { part, from: Number(from), until: Number(until) };
});
const PACE = 900; // milliseconds for a fact, when it plays
let timer;

/** Let only those parts be there that stand at this step. */
function stand(step) {
  for (const { part, from, until } of timed) {
    part.toggleAttribute("hidden", step < from || step >= until);
    part.classList.toggle("now", step === from);
  }
}

function show(step) {
  const to = Math.min(LAST, Math.max(FIRST, step));
  stand(to);
  facts.forEach((fact, place) => {
    if (place === to - FIRST - 1) fact.setAttribute("aria-current", "step");
    else fact.removeAttribute("aria-current");
  });
  const told = facts[to - FIRST - 1]?.textContent ?? now.dataset.begin;
  const [number, all] = [to - FIRST + BEFORE, LAST - FIRST + BEFORE];
  slider.value = to;
  slider.setAttribute("aria-valuetext", `fact ${number} of ${all}`);
  by("count").textContent = `${number} of ${all}`;
  now.textContent = told;
  by("nothing").hidden = cells().length > 0;
  for (const pane of document.querySelectorAll(".scroll")) {
    const there = [...pane.querySelectorAll(":is(tbody tr, .chatq-row):not([hidden])")];
    const fresh = there.findLast((row) => row.matches(".now, :has(.now)")) ?? there.at(-1);
    if (fresh) intoSight(pane, fresh);
  }
  if (to === LAST) stop();
  roam(document.activeElement);
}

/** Scroll a pane, and nothing else, so that a row of it can be seen, with those before it. */
function intoSight(pane, part) {
  const [row, frame] = [part.getBoundingClientRect(), pane.getBoundingClientRect()];
  const head = 48; // the names above stay in sight
  const below = row.bottom - frame.bottom + 8;
  if (below > 0 || row.top < frame.top + head) pane.scrollBy(0, below);
}

const step = (facts) => show(Number(slider.value) + facts);

// -- playing --------------------------------------------------------------------------------------

function stop() {
  clearInterval(timer);
  timer = undefined;
  play.textContent = "Play";
}

function start() {
  if (Number(slider.value) === LAST) show(FIRST);
  timer = setInterval(() => step(1), PACE);
  play.textContent = "Pause";
}

// -- the table: one stop of the Tab key, and arrows from cell to cell -----------------------------

const rows = () => [...table.querySelectorAll("tbody tr:not([hidden])")];
const cells = () => rows().flatMap((row) => [...row.querySelectorAll(".chatq-cell")]);

/** Let Tab stop at this cell; if it is none, at the one where it stopped before, or the first. */
function roam(wanted) {
  const all = cells();
  const before = all.find((cell) => cell.tabIndex === 0);
  const chosen = all.includes(wanted) ? wanted : (before ?? all[0]);
  for (const cell of table.querySelectorAll(".chatq-cell")) {
    if (cell !== chosen) cell.tabIndex = -1;
  }
  if (chosen) chosen.tabIndex = 0;
}

function beside(cell, key) {
  const row = cell.parentElement;
  const line = [...row.querySelectorAll(".chatq-cell")];
  const place = line.indexOf(cell);
  const above = rows();
  const column = (found) => found && [...found.querySelectorAll(".chatq-cell")][place];
  return {
    ArrowLeft: () => line[place - 1],
    ArrowRight: () => line[place + 1],
    ArrowUp: () => column(above[above.indexOf(row) - 1]),
    ArrowDown: () => column(above[above.indexOf(row) + 1]),
    Home: () => line[0],
    End: () => line.at(-1),
  }[key]?.();
}

// -- keys -----------------------------------------------------------------------------------------

const KEYS = {
  ArrowLeft: () => step(-1),
  ArrowRight: () => step(1),
  Home: () => show(FIRST),
  End: () => show(LAST),
};

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const cell = event.target.closest?.(".chatq-cell");
  if (cell) {
    if (!(event.key in KEYS || ["ArrowUp", "ArrowDown"].includes(event.key))) return;
    event.preventDefault();
    beside(cell, event.key)?.focus();
    return;
  }
  const pane = event.target.closest?.(".scroll");
  const scrolls = pane && pane.scrollWidth > pane.clientWidth; // it needs these keys itself
  if (!(event.key in KEYS) || scrolls || event.target === slider) return;
  event.preventDefault();
  stop();
  KEYS[event.key]();
});

table.addEventListener("focusin", ({ target }) => roam(target));
// The line that a style sheet lights is to be seen, too.
for (const pointed of ["focusin", "pointerover"]) {
  table.addEventListener(pointed, ({ target }) => {
    const cell = target.closest(".chatq-cell");
    const about = cell && [...cell.classList].find((name) => name.startsWith("chatq-m"));
    const line = about && by("diagram").querySelector(`.chatq-row.${about}:not([hidden])`);
    if (line) intoSight(by("diagram"), line);
  });
}
slider.addEventListener("input", () => {
  stop();
  show(Number(slider.value));
});
const clicks = { first: () => show(FIRST), back: () => step(-1), next: () => step(1), last: () => show(LAST) };
for (const [id, act] of Object.entries(clicks)) {
  by(id).addEventListener("click", () => {
    stop();
    act();
  });
}
play.addEventListener("click", () => (timer === undefined ? start() : stop()));

// The names of the columns stay above the rows.
by("diagram").addEventListener("scroll", ({ target }) => {
  const heads = target.querySelector(".chatq-heads");
  heads.setAttribute("transform", `translate(0 ${target.scrollTop})`);
});

/** Put the table beside the diagram if both fit, as they are at the end; no step changes that. */
function arrange() {
  stand(LAST);
  const { classList, children, style } = by("panes");
  classList.remove("beside", "stacked");
  classList.add(children[0].offsetTop === children[1].offsetTop ? "beside" : "stacked");
  style.setProperty("--table", `${table.scrollHeight}px`);
  stand(Number(slider.value));
}

addEventListener("resize", () => {
  arrange();
  show(Number(slider.value)); // the panes have other heights now
});
table.querySelector("table").setAttribute("role", "grid");
for (const id of ["controls", "now", "keys"]) by(id).hidden = false;
arrange();
show(LAST);
