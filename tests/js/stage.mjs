// A stage for the Node side of the lessons: what `chatq.Stage` is to python-socketio, as small as
// the scenes allow. It serves a `Server`, dials named clients, breaks lines, and `settle` returns
// when nothing is under way. What it touches of the insides of socket.io, as package-lock.json pins
// them, is here and nowhere else.
//
// `tests/support/in_node.py` puts it before the blocks of a lesson, which then have `Stage`,
// `Server`, `connect` (the client's `io`), `once`, and perhaps `hub`, the address of a running
// hub. It must not know any lesson.

import { once } from "node:events";
import { Server, Socket } from "socket.io";
import { io, Manager } from "socket.io-client";

const WITHIN = 5000; // milliseconds, for whatever is waited for
const MARK = "(mark)"; // answered below every middleware and handler
const [EVENT, BINARY_EVENT] = [2, 5];

let heard = 0; // events, on either side
const counts = (packet) => {
  const marks = packet.data?.[0] === MARK;
  if (!marks && [EVENT, BINARY_EVENT].includes(packet.type)) heard += 1;
  return marks;
};

const receive = Socket.prototype._onpacket;
Socket.prototype._onpacket = function (packet) {
  // A handler begins a few turns after its packet; the answer comes behind it.
  if (counts(packet)) setImmediate(() => this.ack(packet.id)());
  else receive.call(this, packet);
};

async function before(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), WITHIN);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export class Stage {
  #io;
  #lines = new Set(); // of the server
  #managers = new Map(); // by name: one connection for all namespaces, as in a page
  #sockets = new Set(); // all that were ever dialled with
  #frozen = new Set();

  /** Serve `io` on a free port of this computer. */
  static async open(io) {
    const stage = new Stage();
    stage.#io = io;
    const at = { port: 0, host: "127.0.0.1" };
    if (io.httpServer) io.httpServer.listen(at);
    else io.listen(at.port, { host: at.host });
    io.engine.on("connection", (line) => {
      stage.#lines.add(line);
      line.on("close", () => stage.#lines.delete(line));
    });
    await once(io.httpServer, "listening");
    stage.url = `http://127.0.0.1:${io.httpServer.address().port}`;
    open.add(stage);
    return stage;
  }

  /**
   * Return a client that has begun to dial; for a name that is connected, on the same line.
   *
   * `options` are the client's own; as on a stage in Python it does not dial again by itself
   * unless `reconnection` says so.
   */
  dial(name, namespace = "/", { auth, ...options } = {}) {
    if ((this.#managers.get(name)?._readyState ?? "closed") === "closed") {
      const manager = new Manager(this.url, { reconnection: false, ...options });
      manager.on("packet", counts);
      this.#managers.set(name, manager);
    }
    const socket = this.#managers.get(name).socket(namespace, { auth });
    socket.name = name;
    this.#sockets.add(socket);
    socket.connect();
    return socket;
  }

  /** Return a client that was let in, or refused, and has its websocket. */
  async client(name, namespace, options) {
    const socket = this.dial(name, namespace, options);
    await this.settle();
    return socket;
  }

  async clients(...names) {
    const sockets = [];
    for (const name of names) sockets.push(await this.client(name));
    return sockets;
  }

  /** Break the line of a client: nobody says goodbye. A frozen one never wakes up again. */
  cut(name) {
    const { nsps } = this.#managers.get(name);
    if (this.#frozen.delete(name)) {
      for (const socket of Object.values(nsps)) socket.off();
      this.#websocket(name).resume();
    }
    this.#websocket(name).terminate();
  }

  /** Suspend a client: its line stays open, and it reads and answers nothing. */
  freeze(name) {
    const { engine } = this.#managers.get(name);
    this.#frozen.add(name);
    this.#websocket(name).pause();
    clearTimeout(engine._pingTimeoutTimer); // a suspended process has no clock
    engine._pingTimeoutTime = Infinity;
  }

  thaw(name) {
    this.#frozen.delete(name);
    this.#websocket(name).resume();
  }

  #websocket(name) {
    const { transport } = this.#managers.get(name).engine;
    if (!transport.ws) throw new Error(`${name} has no websocket (yet): settle before`);
    return transport.ws;
  }

  /** Return when all that was sent has been received, and who dialled is let in or refused. */
  async settle() {
    for (let seen = -1; seen !== heard; ) {
      seen = heard;
      await Promise.all([...this.#sockets].map((socket) => this.#told(socket)));
      await this.#agreed();
      await Promise.all([...this.#awake()].map((manager) => this.#marked(manager)));
      await new Promise(setImmediate);
    }
  }

  *#awake() {
    for (const [name, manager] of this.#managers) if (!this.#frozen.has(name)) yield manager;
  }

  /** A client that dials is let in, or refused. */
  async #told(socket) {
    const dials = socket.active && !socket.connected && socket.io._readyState !== "closed";
    if (!dials) return;
    const told = new Promise((tell) => {
      socket.once("connect", tell);
      socket.once("connect_error", tell);
    });
    await before(told, `${socket.name} to be let in, or refused`);
  }

  /** Both ends of every line say the same of it: open, over a websocket, or gone. */
  async #agreed() {
    const awake = [...this.#awake()].map((manager) => manager.engine).filter(Boolean);
    const frozen = [...this.#frozen].map((name) => this.#managers.get(name).engine.id);
    const served = new Set([...this.#lines].map((line) => line.id));
    for (const line of this.#lines) {
      const held = awake.some((end) => end.id === line.id && end.readyState === "open");
      if (!held && !frozen.includes(line.id)) await before(once(line, "close"), "a line to end");
    }
    for (const end of awake) {
      if (end.readyState !== "open") continue; // by now
      if (!served.has(end.id)) await before(once(end, "close"), "a client to notice its end");
      else if (end.upgrading || end.transport.name === "polling")
        await before(once(end, "upgrade"), "a line to become a websocket");
    }
  }

  async #marked(manager) {
    const socket = Object.values(manager.nsps).find((one) => one.connected);
    if (!socket) return;
    const gone = new Promise((tell) => socket.once("disconnect", tell));
    await Promise.race([socket.timeout(WITHIN).emitWithAck(MARK), gone]);
  }

  async close() {
    open.delete(this);
    for (const manager of this.#managers.values()) {
      manager.reconnection(false);
      for (const socket of Object.values(manager.nsps)) socket.off(); // the scene is over
      manager._close();
    }
    await this.#io.close();
  }
}

const open = new Set();
const dialled = new Set();

/** Dial a server that is on no stage, as somebody new each time. */
function connect(url, options) {
  const socket = io(url, { forceNew: true, transports: ["websocket"], ...options });
  dialled.add(socket);
  return socket;
}

/** Close what a program has left open. */
async function closeAll() {
  for (const socket of dialled) socket.disconnect();
  await Promise.all([...open].map((stage) => stage.close()));
}

Object.assign(globalThis, { Stage, Server, connect, once, closeAll });
