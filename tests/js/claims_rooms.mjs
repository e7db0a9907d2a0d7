// What lesson 04 claims of rooms, on the real Node server with Node clients: every scenario runs,
// and one JSON object is printed, {claim: outcome}; `lessons/test_lesson_04_in_node.py` expects it.
//
// No waiting by the clock: what a server emits on one connection arrives in order, so a client that
// has the answer to a question asked afterwards (`settled`) has everything from before.

import { createServer } from "node:http";
import { once } from "node:events";
import { Server } from "socket.io";
import { io as connect } from "socket.io-client";

const names = ["ada", "bob", "cy", "dan"];
const options = { transports: ["websocket"], forceNew: true, reconnection: false };

async function scene(play) {
  const http = createServer();
  const io = new Server(http);
  const clients = {};
  const heard = {};
  const sockets = {};  // the server's side of each client
  io.on("connection", (socket) => {
    sockets[socket.handshake.auth.name] = socket;
    socket.on("settled", (answer) => answer());
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  const url = `http://127.0.0.1:${http.address().port}`;
  const dial = async (name) => {
    clients[name]?.disconnect();
    const client = connect(url, { auth: { name }, ...options });
    clients[name] = client;
    client.on("said", (text) => (heard[name] ??= []).push(text));
    await once(client, "connect");
    return client;
  };
  const settled = async () => {
    for (const client of Object.values(clients)) {
      if (client.connected) await client.timeout(5000).emitWithAck("settled");
    }
  };
  // Who got `text`, and how often if it was more than once.
  const got = async (text) => {
    await settled();
    const times = (name) => (heard[name] ?? []).filter((one) => one === text).length;
    return names.filter(times).map((name) => (times(name) > 1 ? `${name} x${times(name)}` : name));
  };
  const gone = async (name) => {
    const ended = once(sockets[name], "disconnect");
    clients[name].disconnect();
    await ended;
  };
  for (const name of names) await dial(name);
  try {
    return await play({ io, clients, sockets, heard, dial, settled, got, gone, url });
  } finally {
    for (const client of Object.values(clients)) client.disconnect();
    await io.close();
  }
}

const roomsOf = (socket) => [...socket.rooms].map((room) => (room === socket.id ? "own" : room));
const inside = async (io, sockets, room) => {
  const ids = (await io.in(room).fetchSockets()).map((socket) => socket.id);
  return names.filter((name) => ids.includes(sockets[name].id));
};
const mentions = (thing) => {
  const found = new Set();
  for (let at = thing; at && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    for (const name of Object.getOwnPropertyNames(at)) {
      if (/room|^join$|^leave$/i.test(name) && !name.startsWith("_")) found.add(name);
    }
  }
  return [...found].sort();
};

const claims = {
  async "a client has no word for rooms"({ clients }) {
    return mentions(clients.ada);
  },
  async "the server has words for rooms"({ sockets }) {
    return mentions(sockets.ada);
  },
  async "a client that says join to a server without a handler is in no room"({ clients, sockets, settled }) {
    clients.ada.emit("join", "r");
    await settled();
    return roomsOf(sockets.ada);
  },
  async "what comes to a member does not say that it was for a room"({ io, clients, sockets, settled }) {
    const frames = [];
    clients.ada.io.engine.on("packet", (packet) => frames.push(packet.data));
    sockets.ada.join("secret room");
    io.to("secret room").emit("said", "x");
    await settled();
    return ["said", "secret"].map((word) => frames.some((frame) => String(frame).includes(word)));
  },
  async "the server knows the rooms of one"({ sockets }) {
    sockets.ada.join("r");
    return [sockets.ada.rooms.constructor.name, roomsOf(sockets.ada)];
  },
  async "to join takes effect at once"({ sockets }) {
    return [sockets.ada.join("r") === undefined, sockets.ada.rooms.has("r")];
  },
  async "one call joins a list of rooms"({ sockets }) {
    sockets.ada.join(["a", "b"]);
    return roomsOf(sockets.ada);
  },
  async "joining twice is joining once"({ io, sockets, got }) {
    sockets.ada.join("r");
    sockets.ada.join("r");
    io.to("r").emit("said", "x");
    return got("x");
  },
  async "a member speaks and is not left out"({ io, sockets, got }) {
    sockets.ada.join("r");
    sockets.bob.join("r");
    io.to("r").emit("said", "x");
    return got("x");
  },
  async "an emit to an empty list"({ io, got }) {
    io.to([]).emit("said", "x");
    return got("x");
  },
  async "an emit to null"({ io, got }) {
    io.to(null).emit("said", "x");
    return got("x");
  },
  async "an emit to the empty text"({ io, got }) {
    io.to("").emit("said", "x");
    return got("x");
  },
  async "an emit to the number 0"({ io, got }) {
    io.to(0).emit("said", "x");
    return got("x");
  },
  async "the room of somebody else's sid"({ io, sockets, got }) {
    sockets.dan.join(sockets.bob.id);
    io.to(sockets.bob.id).emit("said", "x");
    return got("x");
  },
  async "all but a room"({ io, sockets, got }) {
    sockets.bob.join("r");
    io.except("r").emit("said", "x");
    return got("x");
  },
  async "everybody is put out"({ io, sockets }) {
    sockets.ada.join("r");
    sockets.bob.join("r");
    io.in("r").socketsLeave("r");
    return inside(io, sockets, "r");
  },
  async "a room is gone with the last connection"({ io, sockets, gone }) {
    const rooms = io.of("/").adapter.rooms;
    sockets.cy.join("r");
    await gone("cy");
    return rooms.has("r");
  },
  async "rooms that come and go can be heard of"({ io, sockets }) {
    const told = [];
    for (const event of ["create-room", "join-room", "leave-room", "delete-room"]) {
      io.of("/").adapter.on(event, (room) => room === "r" && told.push(event));
    }
    sockets.cy.join("r");
    sockets.cy.leave("r");
    return told;
  },
  async "the rooms that the handlers of a goodbye see"({ sockets, gone }) {
    const seen = [];
    sockets.ada.join("r");
    for (const event of ["disconnecting", "disconnect"]) {
      sockets.ada.on(event, () => seen.push(event, roomsOf(sockets.ada)));
    }
    await gone("ada");
    return seen;
  },
  async "who comes back is in no room, and has a new sid"({ io, sockets, clients, gone, got }) {
    sockets.ada.join("r");
    const before = sockets.ada.id;
    await gone("ada");
    const back = once(io, "connection");
    clients.ada.connect();
    await back;
    io.to("r").emit("said", "x");
    return [clients.ada.id !== before, roomsOf(sockets.ada), await got("x")];
  },
  async "a line that breaks and mends has lost its rooms"({ io, sockets, clients, got }) {
    sockets.ada.join("r");
    const before = sockets.ada.id;
    const back = once(io, "connection");
    clients.ada.io.reconnection(true);
    clients.ada.io.reconnectionDelay(1);
    clients.ada.io.engine.close();  // not a goodbye of ours: it connects again by itself
    await back;
    io.to("r").emit("said", "x");
    return [sockets.ada.id !== before, roomsOf(sockets.ada), await got("x")];
  },
  async "rooms of one name in two namespaces are two"({ io, sockets, url, got }) {
    const joined = new Promise((resolve) => io.of("/other").on("connection", (socket) => {
      socket.join("r");
      socket.on("settled", (answer) => answer());
      resolve();
    }));
    const other = connect(`${url}/other`, options);
    let times = 0;
    other.on("said", () => (times += 1));
    await joined;
    sockets.ada.join("r");
    io.to("r").emit("said", "x");
    await other.timeout(5000).emitWithAck("settled");
    other.disconnect();
    return [await got("x"), times];
  },
};

function within(milliseconds, work) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(reject, milliseconds, new Error(`not done within ${milliseconds} ms`));
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

const outcomes = {};
for (const [claim, play] of Object.entries(claims)) {
  outcomes[claim] = await within(10_000, scene(play)).catch((error) => `raised ${error}`);
}
// A scene that never ended would keep the process alive.
process.stdout.write(JSON.stringify(outcomes), () => process.exit());
