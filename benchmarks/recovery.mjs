// How fast Node's own connection state recovery returns what a client has missed.
//
//   node recovery.mjs server | client PORT
//
// The server keeps what it emits in memory and the client asks for it when it is back: no disk, no
// answer to any message. Both do what standard input says, a line of JSON each way, and end with it.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(new URL("../tests/js/package.json", import.meta.url));
const ORDER = {
  store: "1-206-flowers",
  orderID: "e3669048-7313-427b-b6cc-74010ca1f8f0",
  customer: "Jamal Braun",
  address: "Schmittfort, LA",
};
const ROOM = "drivers";

async function obey(commands) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { do: name, ...wanted } = JSON.parse(line);
    let answer;
    try {
      answer = await commands[name](wanted);
    } catch (error) {
      answer = { error: String(error) };
    }
    console.log(JSON.stringify(answer ?? null));
  }
  process.exit(0);
}

function server() {
  const { Server } = require("socket.io");
  const io = new Server(0, { connectionStateRecovery: {}, transports: ["websocket"] });
  let gone = Promise.resolve();
  io.on("connection", (socket) => {
    gone = new Promise((resolve) => socket.on("disconnect", resolve));
    if (!socket.recovered) socket.join(ROOM);
    // A client that has received nothing yet has no place to go on from.
    io.to(ROOM).emit("begin", ORDER);
  });
  return {
    port: () => io.httpServer.address().port,
    async miss({ n }) {
      await gone; // for whoever is still there, it would not be missed
      for (let i = 0; i < n; i++) io.to(ROOM).emit("pickup", ORDER);
    },
  };
}

function client(port) {
  const { io } = require("socket.io-client");
  let socket;
  return {
    async connect() {
      socket?.disconnect();
      socket = io(`http://127.0.0.1:${port}`, {
        transports: ["websocket"],
        reconnection: false,
        forceNew: true,
      });
      await new Promise((resolve, reject) => {
        socket.once("begin", resolve);
        socket.once("connect_error", reject);
      });
    },
    async cut() {
      const gone = new Promise((resolve) => socket.once("disconnect", resolve));
      socket.io.engine.close();
      await gone;
    },
    // The server sends what was missed before it says that the client is connected, so the clock
    // starts when the client asks to be.
    recover: ({ n }) =>
      new Promise((resolve, reject) => {
        let count = 0;
        let seconds;
        const start = performance.now();
        socket.on("pickup", () => {
          if (++count === n) seconds = (performance.now() - start) / 1000;
        });
        socket.once("connect_error", reject);
        socket.once("connect", () => {
          if (socket.recovered && count === n) resolve({ seconds });
          else reject(new Error(`recovered: ${socket.recovered}, ${count} of ${n} messages`));
        });
        socket.connect();
      }),
  };
}

const [role, port] = process.argv.slice(2);
await obey(role === "server" ? server() : client(port));
