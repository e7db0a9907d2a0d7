// The page of a hub: shows what the hub says each second, and asks it for nothing else.
//
// Names come from anybody: they are set as text, never as markup. The token is kept in this script's
// memory alone, for when the hub comes back.
"use strict";

const at = (id) => document.getElementById(id);
const body = document.querySelector("tbody");

const socket = io("/chatq", { auth: { token: "" }, transports: ["websocket"] });

function say(text, off) {
  // Only when it is another text: it is read aloud.
  if (at("status").textContent !== text) at("status").textContent = text;
  at("status").classList.toggle("off", off);
  at("frame").classList.toggle("old", off);
}

function askForToken(status, refusal) {
  say(status, false);
  at("frame").hidden = at("words").hidden = at("note").hidden = true;
  at("refusal").textContent = refusal;
  at("door").hidden = false;
  at("token").focus();
}

socket.on("connect", () => {
  socket.emit("look", {}, ({ error }) => {
    if (error?.code === "forbidden") {
      // The hub knows this token: another one is a new beginning.
      askForToken("The hub asks for a token that may manage all queues.", sentence(error.message));
      return;
    }
    at("door").hidden = true;
    at("refusal").textContent = "";
    if (error) say(error.message, true);
  });
});

socket.on("connect_error", (problem) => {
  if (problem.data?.error?.code !== "forbidden") {
    say("The hub does not answer. Trying again …", true);
    return;
  }
  // The hub is there, and wants to know more. The client does not try again by itself then.
  const wrong = socket.auth.token ? "That is not a token of this hub." : "";
  askForToken("The hub asks for a token.", wrong);
});

socket.on("disconnect", (reason) => {
  // Not by the page itself, for another token.
  if (reason !== "io client disconnect") say("The hub does not answer. Trying again …", true);
});

at("door").addEventListener("submit", (event) => {
  event.preventDefault();
  socket.auth = { token: at("token").value };
  at("token").value = "";
  socket.disconnect();
  socket.connect();
});

socket.on("queues", (picture) => {
  say(picture.problem ? `The hub cannot say: ${picture.problem}` : "live", !!picture.problem);
  if (!picture.problem) show(picture);
});

function show({ queues, more, namespace, dialect }) {
  put(at("caption"), `${told(queues)} Clients in ${namespace}${dialect ? `, dialect ${dialect}` : ""}.`);
  at("frame").hidden = at("words").hidden = false;
  at("note").hidden = !more;
  put(at("note"), `and ${more} more queues, in which less happens`);
  // The rows that are there stay: whoever reads one, or has marked its text, is not disturbed.
  const rows = new Map([...body.children].map((row) => [row.dataset.queue, row]));
  queues.forEach((queue, n) => {
    const row = rows.get(queue.queue) ?? newRow(queue.queue);
    rows.delete(queue.queue);
    if (body.children[n] !== row) body.insertBefore(row, body.children[n] ?? null);
    fill(row, queue);
  });
  for (const row of rows.values()) row.remove();
}

function newRow(name) {
  const row = document.createElement("tr");
  row.dataset.queue = name;
  const head = document.createElement("th");
  head.scope = "row";
  // A name that is written from right to left turns nothing around it.
  head.append(document.createElement("bdi"));
  row.append(head);
  for (let n = 0; n < 5; n++) {
    const cell = document.createElement("td");
    if (n < 4) cell.className = "number";
    else cell.append(document.createElement("bdi"));
    row.append(cell);
  }
  return row;
}

function fill(row, { queue, ready, delayed, leased, dead, oldest, consumers }) {
  const [head, wait, out, gone, age, who] = row.children;
  put(head.firstChild, queue);
  head.title = queue;
  put(wait, delayed ? `${ready + delayed} (${delayed} later)` : `${ready}`);
  put(out, `${leased}`);
  put(gone, `${dead}`);
  put(age, oldest === null ? "–" : since(oldest));
  put(who.firstChild, consumers.length ? among(consumers) : "nobody");
  row.classList.toggle("waits", ready + delayed + leased > 0);
  gone.classList.toggle("alarm", dead > 0);
  who.classList.toggle("alarm", !consumers.length && ready > 0);
}

function put(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

function told(queues) {
  const sum = (of) => queues.reduce((n, queue) => n + of(queue), 0);
  const wait = sum((queue) => queue.ready + queue.delayed);
  const out = sum((queue) => queue.leased);
  const dead = sum((queue) => queue.dead);
  if (!queues.length) return "No queue yet: nobody has put anything into one.";
  const many = queues.length === 1 ? "1 queue" : `${queues.length} queues`;
  return `${many}: ${wait} wait, ${out} out, ${dead} dead.`;
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}.`;
}

function among(consumers) {
  const shown = consumers.slice(0, 12).map(({ name, out }) => (out ? `${name}\u00a0(${out}\u00a0out)` : name));
  if (consumers.length > 12) shown.push(`${consumers.length - 12} more`);
  return shown.join(", ");
}

function since(seconds) {
  const units = [[86400, "d"], [3600, "h"], [60, "min"]];
  const [size, unit] = units.find(([size]) => seconds >= size) ?? [1, "s"];
  return `${Math.floor(seconds / size)} ${unit}`;
}
