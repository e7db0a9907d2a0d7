// The chat page: dials the server that sent it, speaks, hears, and is honest about what it sent.
//
// Whose buffer? socket.io-client has one: what is emitted without a connection it keeps, out of
// sight, and sends later. This page uses its own instead, because people should see what waits,
// a reload should not lose it, and only they can decide about what is uncertain. So the client is
// given a message only while there is a connection, and the next one when that is answered.
//
// A message is
//   waiting        not given to the connection yet; sent by itself as soon as there is one
//   on its way     given to the connection, not answered yet
//   sent           the server has acknowledged it
//   not confirmed  the connection broke, or no answer came: it may have arrived, or not. Sending it
//                  again by itself might say it twice, so a person decides.

const PATIENCE = 5000; // milliseconds to wait for an answer
const STAYED = 2000; // milliseconds after which a page that was to go has not gone
const LONGEST_LOG = 500; // entries
const LONGEST_TEXT = 2000; // characters
const LONGEST_NAME = 40; // characters; a stage keeps no more
const LOST = "No connection. Calling again …";
const GAP = "The line was down here: what was said meanwhile is not shown.";
// More than spaces, and marks that nobody sees.
const VISIBLE = /[^\s\p{Cc}\p{Default_Ignorable_Code_Point}\u2800]/u;
const HINTS = {
  waiting: "waiting",
  "on its way": "on its way …",
  sent: "sent",
  "not confirmed": "not confirmed: it may have arrived, or not",
};
const KEPT = `chat: not sent from ${location.pathname}`; // several pages may share one origin
const DRAFT = `chat: being typed on ${location.pathname}`;

const [status, log, list, form, text, dial, refusal] = [
  "#status",
  "#log",
  "#log ol",
  "form",
  "#text",
  "#dial",
  "#refusal",
].map((at) => document.querySelector(at));
const asked = new URLSearchParams(location.search).get("name") ?? "";
const name = VISIBLE.test(asked) ? [...asked.trim()].slice(0, LONGEST_NAME).join("") : "";
const outbox = []; // all that is not known to be sent, in the order in which it was typed
let connection = "Calling …";
let following = true;
let scrolled = 0;
let gap = null; // the entry that tells of a break, hidden until it is over

log.addEventListener("scroll", () => {
  const up = log.scrollTop < scrolled;
  scrolled = log.scrollTop;
  if (up) following = false;
  if (log.scrollHeight - log.scrollTop - log.clientHeight < 40) following = true;
});
for (const box of [log, list]) new ResizeObserver(follow).observe(box);

if (name) document.title = `${name} · Chat`;
if (globalThis.io) {
  chat();
} else {
  document.querySelector("#no-client").hidden = false;
  form.hidden = log.hidden = true;
  status.textContent = "Not connected";
}

function chat() {
  const path = new URL("socket.io/", document.baseURI).pathname; // also behind a proxy's prefix
  const socket = io({ path, query: name ? { name } : {} }); // dial the server that sent this page

  socket.on("chat message", (said) => entry("heard", "Heard", said)); // hear

  function next() {
    const message = outbox.find(({ state }) => state === "waiting");
    if (!message || !socket.connected || outbox.some(({ state }) => state === "on its way")) return;
    change(message, "on its way");
    socket.emit("chat message", message.text, () => ended(message, "sent")); // speak
    if (socket.sendBuffer.length) {
      // The client has just seen that the connection is dead, and kept the message: not its job.
      socket.sendBuffer = [];
      change(message, "waiting");
      return;
    }
    message.timer = setTimeout(() => ended(message, "not confirmed"), PATIENCE);
  }

  function ended(message, state) {
    clearTimeout(message.timer);
    change(message, state);
    next();
  }

  function say(message) {
    if (!outbox.includes(message)) outbox.push(message);
    change(message, "waiting");
    next();
  }

  function moved(words, idle = false) {
    connection = words;
    document.body.dataset.connected = socket.connected;
    dial.hidden = !idle; // then the client does not dial again by itself
    tell();
  }

  socket.on("connect", () => {
    // What the server calls us, only the server knows: the name may be taken.
    moved(name ? `Connected, asking to be called ${name}` : "Connected");
    if (gap) gap.hidden = socket.recovered; // a server can be told to make up for a break
    gap = null;
    next();
  });
  socket.on("disconnect", (reason) => {
    if (reason === "io client disconnect") moved("Leaving …");
    else moved(socket.active ? LOST : "The server hung up.", !socket.active);
    outbox.filter(({ state }) => state === "on its way").forEach((m) => ended(m, "not confirmed"));
    gap = entry("note", "", GAP);
    gap.hidden = true;
  });
  socket.on("connect_error", (error) => {
    moved(socket.active ? LOST : `The server refused the call: ${error.message}`, !socket.active);
  });
  dial.addEventListener("click", () => {
    moved("Calling …");
    socket.connect();
    text.focus();
  });
  // Hang up before the page goes. A browser that reloads a page may start the new one before the
  // old one is gone, and to the server there would be two of us.
  addEventListener("beforeunload", () => {
    socket.disconnect();
    setTimeout(() => socket.connect(), STAYED); // still here: it was called off, or came back
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const said = text.value;
    if (refuse([...said].length)) return;
    text.value = "";
    keep(DRAFT, "");
    if (VISIBLE.test(said)) say(compose(said, say));
  });
  text.addEventListener("input", () => {
    keep(DRAFT, text.value);
    if ([...text.value].length <= LONGEST_TEXT) refuse(0);
  });

  moved(connection);
  text.value ||= kept(DRAFT);
  restore(say);
}

/** Say so if a text of `length` characters is too long; return whether it is. */
function refuse(length) {
  const tooLong = length > LONGEST_TEXT;
  const words = `At most ${LONGEST_TEXT} characters, and these are ${length}: nothing was sent.`;
  refusal.textContent = tooLong ? words : "";
  text.setAttribute("aria-invalid", tooLong);
  return tooLong;
}

/** Return a new message; `again` is called with it when a person decides to send it again. */
function compose(said, again) {
  const shown = entry("mine", "You", said);
  const state = shown.appendChild(document.createElement("span"));
  const message = { text: said, state: "", shown, hint: state };
  const remove = () => {
    forget(message);
    shown.remove();
    save();
  };
  for (const [label, act] of [
    ["Send again", () => again(message)],
    ["Remove", remove],
  ]) {
    const button = shown.appendChild(document.createElement("button"));
    button.type = "button";
    button.textContent = label;
    button.setAttribute("aria-label", `${label}: ${said}`);
    button.addEventListener("click", () => {
      act();
      text.focus();
    });
  }
  return message;
}

function change(message, state) {
  const within = message.shown.contains(document.activeElement);
  message.state = message.shown.dataset.state = state;
  message.hint.textContent = HINTS[state];
  if (within) text.focus(); // its buttons may be gone
  if (state === "sent") forget(message);
  save();
}

function forget(message) {
  const at = outbox.indexOf(message); // -1 for the late answer to one that is forgotten already
  if (at >= 0) outbox.splice(at, 1);
}

/** Keep `words` over a reload of this tab. */
function keep(where, words) {
  try {
    if (words) sessionStorage.setItem(where, words);
    else sessionStorage.removeItem(where);
  } catch {
    // A browser may forbid it. Then all still holds, but for the reload.
  }
}

function kept(where) {
  try {
    return sessionStorage.getItem(where) ?? "";
  } catch {
    return "";
  }
}

/** Keep what is not known to be sent. */
function save() {
  keep(KEPT, JSON.stringify(outbox.map(({ text, state }) => ({ text, state }))));
  tell();
}

function restore(say) {
  let unsent = [];
  try {
    unsent = JSON.parse(kept(KEPT) || "[]");
  } catch {
    // Not what this page wrote.
  }
  // A duplicated tab has a copy of what waits in the first: only a reload is sure to be the same.
  const [how] = performance.getEntriesByType("navigation");
  for (const { text, state } of unsent) {
    const message = compose(text, say);
    outbox.push(message);
    change(message, state === "waiting" && how?.type === "reload" ? "waiting" : "not confirmed");
  }
}

/** Say in words how the connection is, and what has not been sent. */
function tell() {
  const count = (which) => outbox.filter(({ state }) => state === which).length;
  const counts = ["waiting", "not confirmed"].map((state) => [count(state), state]);
  const unsent = counts.filter(([n]) => n).map(([n, state]) => `${n} ${state}`);
  const words = [connection, ...(unsent.length ? [`(${unsent.join(", ")})`] : [])].join(" ");
  if (status.textContent !== words) status.textContent = words; // it is read aloud
}

function entry(kind, who, said) {
  const item = document.createElement("li");
  item.className = kind;
  const words = typeof said === "string" ? said : JSON.stringify(said);
  for (const [tag, content] of [
    ["b", who],
    ["p", words],
  ]) {
    if (tag === "b" && !content) continue; // the page's own words
    const part = item.appendChild(document.createElement(tag));
    part.textContent = content;
    part.dir = "auto"; // Arabic and Hebrew run from right to left
  }
  list.append(item);
  if (list.children.length > LONGEST_LOG) list.querySelector(".heard, .note, [data-state=sent]")?.remove();
  following ||= kind === "mine";
  return item;
}

// The end of the log stays in sight, unless somebody has scrolled up to read.
function follow() {
  if (following) log.scrollTop = log.scrollHeight;
}
