// What lesson 06 claims of Node's remedies, on the real Node server with Node clients: every
// scenario runs, and one JSON object is printed, {claim: outcome};
// `lessons/test_lesson_06_in_node.py` expects it.
//
// No waiting by the clock: a connection delivers in order, so a client that has the answer to a
// question asked afterwards (`settled`) has everything from before.

import { createServer } from "node:http";
import { once } from "node:events";
import { Server } from "socket.io";
import { io as connect } from "socket.io-client";

const recovery = { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } };
const claims = {};

async function hub(port = 0, options = recovery) {
  const http = createServer();
  const io = new Server(http, options);
  const caps = io.of("/caps");
  const gone = [];
  caps.on("connection", (socket) => {
    socket.on("pickup", (order, answer) => {
      socket.broadcast.emit("pickup", order);
      answer?.();
    });
    socket.on("settled", (answer) => answer());
    socket.on("disconnect", () => gone.splice(0).forEach((tell) => tell()));
  });
  http.listen(port, "127.0.0.1");
  await once(http, "listening");
  const noticed = () => new Promise((resolve) => gone.push(resolve));
  return { io, caps, noticed, port: http.address().port };
}

// A client of its own connection: what a new process would be.
function client(port) {
  const options = { transports: ["websocket"], forceNew: true, reconnection: false };
  const socket = connect(`http://127.0.0.1:${port}/caps`, { ...options, autoConnect: false });
  socket.heard = [];
  socket.on("pickup", (order) => socket.heard.push(order));
  return socket;
}

async function dial(socket) {
  const connected = once(socket, "connect");
  socket.connect();
  await connected;
  return socket;
}

const settled = (socket) => socket.timeout(5000).emitWithAck("settled");

async function cut(socket, noticed) {
  const seen = noticed();
  socket.io.engine.close();  // the connection ends, nobody said goodbye
  await seen;
}

async function withRecovery(name, play, options = recovery) {
  const first = await hub(0, options);
  const vendor = await dial(client(first.port));
  const driver = await dial(client(first.port));
  const send = (order) => vendor.emitWithAck("pickup", order);
  const open = [first.io, vendor, driver];
  try {
    claims[name] = await play({ first, vendor, driver, send, open });
  } finally {
    for (const end of open.reverse()) await (end.disconnect?.() ?? end.close());
  }
}

await withRecovery("recovery after a short break", async ({ first, driver, send }) => {
  await send("O-1");
  await settled(driver);
  await cut(driver, first.noticed);
  await send("O-2");
  await dial(driver);
  await settled(driver);
  return { recovered: driver.recovered ?? false, heard: driver.heard };
});

await withRecovery("recovery before the first package", async ({ first, driver, send }) => {
  await cut(driver, first.noticed);
  await send("O-2");
  await dial(driver);
  await settled(driver);
  return { recovered: driver.recovered ?? false, heard: driver.heard };
});

await withRecovery("no recovery unless it is switched on", async ({ first, driver, send }) => {
  await send("O-1");
  await settled(driver);
  await cut(driver, first.noticed);
  await send("O-2");
  await dial(driver);
  await settled(driver);
  return { recovered: driver.recovered ?? false, heard: driver.heard };
}, {});

await withRecovery("recovery for a new process", async ({ first, driver, send, open }) => {
  await send("O-1");
  await settled(driver);
  await cut(driver, first.noticed);
  await send("O-2");
  const again = await dial(client(first.port));
  open.push(again);
  await settled(again);
  return { recovered: again.recovered, heard: again.heard };
});

await withRecovery("recovery for one who was never there", async ({ first, send, open }) => {
  await send("O-1");
  const late = await dial(client(first.port));
  open.push(late);
  await settled(late);
  return { recovered: late.recovered, heard: late.heard };
});

await withRecovery("recovery after the hub was started again", async (scene) => {
  const { first, vendor, driver, send, open } = scene;
  await send("O-1");
  await settled(driver);
  await cut(driver, first.noticed);
  await send("O-2");
  const ended = once(vendor, "disconnect");
  await first.io.close();
  await ended;
  const second = await hub(first.port);
  open.push(second.io);
  await dial(driver);
  await settled(driver);
  return { recovered: driver.recovered ?? false, heard: driver.heard };
});

// The client's own buffer: what it emits while the hub is off.
{
  const first = await hub();
  const vendor = await dial(client(first.port));
  const ended = once(vendor, "disconnect");
  await first.io.close();
  await ended;
  vendor.emit("pickup", "O-1");
  const buffered = vendor.sendBuffer.length;
  const second = await hub(first.port);
  const got = [];
  second.caps.on("connection", (socket) => socket.on("pickup", (order) => got.push(order)));
  await dial(vendor);
  await settled(vendor);
  const again = await dial(client(first.port));  // a new process: its buffer is a new one
  claims["buffer while the hub is off"] = { buffered, got, anew: again.sendBuffer.length };
  again.disconnect();
  vendor.disconnect();
  await second.io.close();
}

// The driver is off, and the vendor is not: there is nothing to buffer.
{
  const only = await hub();
  const vendor = await dial(client(only.port));
  await vendor.emitWithAck("pickup", "O-1");
  const buffered = vendor.sendBuffer.length;
  const driver = await dial(client(only.port));
  await settled(driver);
  claims["buffer while the driver is off"] = { buffered, heard: driver.heard };
  driver.disconnect();
  vendor.disconnect();
  await only.io.close();
}

console.log(JSON.stringify(claims));
