// Other people's clients, driven by a test: socket.io-client under Node, and pages in a browser.
//
// Reads one command a line from stdin, {"id", "do", "with"}, and answers each with one line on
// stdout, {"id", "value"} or {"id", "error"}. Ends, and takes the browser with it, when stdin does.
// Nothing waits without a deadline (`within`, in milliseconds); what passes it says what was
// pending. Binary data is {"$bytes": base64}, both ways.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core"), "utf8");
const WITHIN = 8000;

const sockets = new Map(); // by name: {socket, arrived, wakers}
const pages = new Map();
const profiles = new Map(); // by name: what a browser keeps, as cookies and what it has loaded
let browser;

// -- clients ------------------------------------------------------------------------------------

const forSockets = {
  /** Open a socket; return whether the server let it in, and if not, what it said. */
  async connect({ who, url, namespace = "/", on, answers = {}, within = WITHIN, ...options }) {
    // `on`: the socket whose connection this one shares, as two namespaces of one page do.
    const socket = on
      ? of(on).socket.io.socket(namespace, options)
      : io(url + namespace, { forceNew: true, ...options });
    const peer = { socket, arrived: [], changed: new Set() };
    sockets.set(who, peer);
    const note = (event, args) => {
      peer.arrived.push({ event, args: pack(args) });
      peer.changed.forEach((wake) => wake());
    };
    socket.onAny((event, ...args) => {
      const ack = typeof args.at(-1) === "function" ? args.pop() : undefined;
      note(event, args);
      if (ack && event in answers) ack(...unpack(answers[event]));
    });
    socket.on("disconnect", (reason) => note("(disconnect)", [reason]));
    const outcome = new Promise((resolve) => {
      socket.once("connect", () => resolve({ connected: true, sid: socket.id }));
      socket.once("connect_error", (error) =>
        resolve({ connected: false, reason: error.message, data: error.data ?? null }),
      );
    });
    socket.on("connect", () => note("(connect)", []));
    return before(within, outcome, () => `${who} to be let into ${namespace}, or refused`);
  },

  async emit({ who, event, args = [] }) {
    of(who).socket.emit(event, ...unpack(args));
  },

  /** Emit, and return what the server acknowledges with. */
  async ask({ who, event, args = [], within = WITHIN }) {
    const answer = new Promise((resolve) =>
      of(who).socket.emit(event, ...unpack(args), (...back) => resolve(pack(back))),
    );
    return before(within, answer, () => `the server to acknowledge ${event} of ${who}`);
  },

  async arrived({ who }) {
    return of(who).arrived;
  },

  /** Return what arrived of `event`, as soon as it is `count`. */
  async wait({ who, event, count = 1, within = WITHIN }) {
    const peer = of(who);
    const found = () => peer.arrived.filter((one) => one.event === event);
    let wake;
    const enough = new Promise((resolve) => {
      wake = () => found().length >= count && resolve();
      peer.changed.add(wake);
      wake();
    });
    const names = () => peer.arrived.map((one) => one.event).join(", ") || "nothing";
    await before(
      within,
      enough,
      () => `${count} of ${event} at ${who}; arrived: ${names()}`,
    ).finally(() => peer.changed.delete(wake));
    return found().map((one) => one.args);
  },

  async transport({ who, name, within = WITHIN }) {
    const engine = of(who).socket.io.engine;
    const upgraded = new Promise((resolve) => {
      if (!name || engine.transport.name === name) resolve();
      else engine.once("upgrade", resolve);
    });
    await before(
      within,
      upgraded,
      () => `${who} to change to ${name}; it uses ${engine.transport.name}`,
    );
    return engine.transport.name;
  },

  async disconnect({ who }) {
    of(who).socket.disconnect();
  },
};

function of(who) {
  if (!sockets.has(who))
    throw new Error(`no socket is called ${who}; there are ${[...sockets.keys()]}`);
  return sockets.get(who);
}

// -- pages --------------------------------------------------------------------------------------

const forPages = {
  async browse({ executable, args = [] }) {
    const { chromium } = await import("playwright-core");
    // What a browser does by itself would leave this machine.
    const quiet = [
      "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-component-update",
      "--disable-sync",
      "--disable-background-networking",
    ];
    browser = await chromium.launch({
      executablePath: executable,
      args: [...quiet, ...args],
      timeout: 20000,
    });
  },

  /**
   * Open a page. `clock`: its time passes only by `pass`; `init`: a script to run first; `profile`:
   * it shares what a browser keeps with all others of this name. It has its own otherwise.
   * `offline`: without any network; `scripts`: whether the page's own may run.
   */
  async open({ page, url, within = WITHIN, clock = false, init, profile = page, ...look }) {
    const { width = 1300, height = 800, scheme = "light", offline = false, scripts = true } = look;
    if (profile === page || !profiles.has(profile)) {
      const how = { ignoreHTTPSErrors: true, offline, javaScriptEnabled: scripts }; // of the test
      profiles.set(profile, await browser.newContext(how));
      profiles.get(profile).setDefaultTimeout(WITHIN);
    }
    const opened = adopt(page, await profiles.get(profile).newPage());
    await opened.setViewportSize({ width, height });
    await opened.emulateMedia({ colorScheme: scheme });
    if (clock) await opened.clock.install();
    if (init) await opened.addInitScript(init);
    await opened.goto(url, { timeout: within });
  },

  /** Open the same page again in a tab that has a copy of its session, as "Duplicate tab" does. */
  async duplicate({ page, as }) {
    const coming = pages.get(page).context().waitForEvent("page");
    await pages.get(page).evaluate("void open(location.href)");
    adopt(as, await coming);
  },

  /** Return the address of the page's websocket, as soon as it speaks over it and nothing else. */
  async websocket({ page, within = WITHIN }) {
    const opened = pages.get(page);
    const what = () => `${page} to change to a websocket; ${opened.websockets.length} opened`;
    return before(within, opened.changed, what);
  },

  pass: ({ page, time }) => pages.get(page).clock.runFor(time),

  fill: ({ page, selector, text }) => at(page, selector).fill(text),
  press: ({ page, key }) => pages.get(page).keyboard.press(key),
  click: ({ page, selector, within }) => at(page, selector).click({ timeout: within }),
  async drag({ page, selector, right }) {
    const box = await at(page, selector).boundingBox();
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    const { mouse } = pages.get(page);
    await mouse.move(x, y);
    await mouse.down();
    await mouse.move(x + right, y, { steps: 4 });
    await mouse.up();
  },
  hover: ({ page, selector }) => at(page, selector).hover(),
  focus: ({ page, selector }) => at(page, selector).focus(),
  choose: ({ page, selector, option }) => at(page, selector).selectOption({ label: option }),
  reload: ({ page }) => pages.get(page).reload(),
  goto: ({ page, url }) => pages.get(page).goto(url),
  text: ({ page, selector }) => at(page, selector).innerText(),
  texts: ({ page, selector }) => at(page, selector).allInnerTexts(),
  evaluate: ({ page, script }) => pages.get(page).evaluate(script),
  complaints: async ({ page }) => pages.get(page).complaints,
  requests: async ({ page }) => pages.get(page).requests,
  /** Return what passed between the page and Socket.IO's server. `whole`: all is answered. */
  async traffic({ page, whole = false, within = WITHIN }) {
    const { traffic, answers } = pages.get(page);
    if (whole) await before(within, Promise.all(answers), () => `the answers to ${page}`);
    return traffic;
  },

  forgive: async ({ page }) => void pages.get(page).complaints.splice(0),
  offline: ({ page, value }) => pages.get(page).context().setOffline(value),
  leave: ({ page }) => pages.get(page).close(),
  scheme: ({ page, value }) => pages.get(page).emulateMedia({ colorScheme: value }),
  resize: ({ page, width, height }) => pages.get(page).setViewportSize({ width, height }),
  screenshot: ({ page, path, of }) =>
    (of ? at(page, of) : pages.get(page)).screenshot({ path }),

  /** Set the page's clock, and nothing but what it shows: no timer runs sooner. */
  clock: ({ page, ahead }) => pages.get(page).clock.setSystemTime(Date.now() + ahead),

  /** Return the texts of `selector` as soon as one holds `text` (and there are `count`). */
  async see({ page, selector, text = "", count, within = WITHIN }) {
    const look = () => at(page, selector).allInnerTexts();
    const [found, enough] = [at(page, selector).filter({ hasText: text }), count ?? 1];
    try {
      await found.nth(enough - 1).waitFor({ state: "visible", timeout: within });
      return await look();
    } catch {
      throw new Error(
        `waited ${within} ms for ${enough} of ${selector} with ${JSON.stringify(text)}; ` +
          `there: ${JSON.stringify(await look())}`,
      );
    }
  },

  /** Return what the expression `look` gives, as soon as the function `met` says yes to it. */
  async until({ page, look, met, pending, within = WITHIN }) {
    const opened = pages.get(page);
    try {
      const script = `(() => { const seen = ${look}; return (${met})(seen) && { seen }; })()`;
      const found = await opened.waitForFunction(script, null, { timeout: within });
      return (await found.jsonValue()).seen;
    } catch (error) {
      if (error.name !== "TimeoutError") throw error;
      const seen = JSON.stringify(await opened.evaluate(look));
      throw new Error(`waited ${within} ms in vain for ${pending}; there: ${seen}`);
    }
  },

  /** Return what axe finds wrong inside a selector (CSS), as "impact rule: where". */
  async axe({ page, inside = ":root" }) {
    const opened = pages.get(page);
    await opened.evaluate(axe); // no script of the page: its policy may forbid any
    const { violations } = await opened.evaluate((where) => axe.run(where), inside);
    return violations.map(
      ({ impact, id, nodes }) => `${impact} ${id}: ${nodes.map((n) => n.target).join(", ")}`,
    );
  },
};

function adopt(name, page) {
  page.complaints = [];
  page.requests = [];
  page.traffic = []; // of Socket.IO: what a browser's Network tab shows, in the order begun
  page.answers = []; // to its letters, each a promise
  page.on("request", (request) => {
    page.requests.push(request.url());
    if (!request.url().includes("/socket.io/?")) return;
    const [method, sent] = [request.method(), request.postData()];
    const exchange = { transport: "polling", method, sent, came: null };
    page.traffic.push(exchange);
    const body = request.response().then((response) => response?.text() ?? null);
    const came = body.catch(() => null); // none, or not for this page
    page.answers.push(came.then((text) => (exchange.came = text)));
  });
  page.websockets = [];
  page.changed = new Promise((resolve) => {
    page.on("websocket", (websocket) => {
      page.websockets.push(websocket.url());
      const frame = (sent, came) => page.traffic.push({ transport: "websocket", sent, came });
      frame(null, null); // it is dialled
      websocket.on("framesent", ({ payload }) => frame(payload, null));
      websocket.on("framereceived", ({ payload }) => frame(null, payload));
      websocket.on("close", () => frame(null, "(closed)"));
      // Engine.IO's "upgrade": from here on the server sees at once when the page is gone.
      websocket.on("framesent", ({ payload }) => payload === "5" && resolve(websocket.url()));
    });
  });
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on(
    "console",
    (message) => message.type() === "error" && page.complaints.push(message.text()),
  );
  pages.set(name, page);
  return page;
}

function at(page, selector) {
  if (!pages.has(page))
    throw new Error(`no page is called ${page}; there are ${[...pages.keys()]}`);
  return pages.get(page).locator(selector);
}

// -- commands -----------------------------------------------------------------------------------

async function before(within, promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`waited ${within} ms in vain for ${what()}`)),
      within,
    );
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function pack(value) {
  if (Buffer.isBuffer(value)) return { $bytes: value.toString("base64") };
  if (Array.isArray(value)) return value.map(pack);
  if (!value || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, pack(inner)]));
}

function unpack(value) {
  if (Array.isArray(value)) return value.map(unpack);
  if (!value || typeof value !== "object") return value;
  if ("$bytes" in value) return Buffer.from(value.$bytes, "base64");
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, unpack(inner)]));
}

const commands = { ...forSockets, ...forPages, scratch: async () => tmpdir() };

async function obey(line) {
  const { id, do: what, with: options } = JSON.parse(line);
  let answer;
  try {
    answer = { id, value: (await commands[what](options)) ?? null };
  } catch (error) {
    answer = { id, error: error.message };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}

const lines = createInterface({ input: process.stdin });
lines.on("line", obey);
lines.on("close", async () => {
  for (const { socket } of sockets.values()) socket.disconnect();
  await browser?.close();
  process.exit(0);
});
