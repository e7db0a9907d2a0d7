// What lesson 05 says of namespaces, and none of its folds shows, asked of the Node server.
//
// Prints one JSON object, { claim: outcome }. No pauses: that nothing more arrives is shown by an
// acknowledgement that the server sends after it, on the same connection.

import { once } from "node:events";
import { Server } from "socket.io";
import { Manager } from "socket.io-client";

const DEADLINE = 30_000;
setTimeout(() => {
  console.error("the claims did not end in time");
  process.exit(1);
}, DEADLINE).unref();

/** Serve `prepare(io)`, let `play(io, connect)` happen, and return what it returns. */
async function scene(prepare, play, options = {}) {
  const io = new Server({ transports: ["websocket"], ...options });
  const managers = [];
  io.on("connection", (socket) => socket.on("marker", (answer) => answer("seen")));
  const shared = prepare(io);
  io.listen(0, { host: "127.0.0.1" });
  const url = () => `http://127.0.0.1:${io.httpServer.address().port}`;
  await once(io.httpServer, "listening");
  const connection = () => {
    const manager = new Manager(url(), { transports: ["websocket"], reconnection: false });
    const line = { manager, events: [], socket: (n, auth) => manager.socket(n, { auth }) };
    // What the wire brought, before the client's own sorting: type 2 is an event.
    manager.on("packet", (p) => p.type === 2 && line.events.push([p.nsp, ...p.data]));
    line.root = line.socket("/");
    line.marked = async () => {
      if (!line.root.connected) await once(line.root, "connect");
      await line.root.timeout(5000).emitWithAck("marker");
      return line.events;
    };
    managers.push(manager);
    return line;
  };
  try {
    return await play(io, connection, shared);
  } finally {
    for (const manager of managers) manager._close();
    await io.close();
  }
}

/** Whether a socket was let in, or the reason why not. */
const outcome = (socket) =>
  new Promise((tell) => {
    if (socket.connected) tell("in");
    socket.once("connect", () => tell("in"));
    socket.once("connect_error", (error) => tell(error.message));
  });

/** A middleware that waits until the script decides: `asked` resolves with the `next` to call. */
function gate() {
  const waiting = [];
  const wanted = [];
  return {
    use: (socket, next) => (wanted.length ? wanted.shift()(next) : waiting.push(next)),
    asked: () =>
      waiting.length
        ? Promise.resolve(waiting.shift())
        : new Promise((tell) => wanted.push(tell)),
  };
}

const KEYS = new Map([["/tenant-rome", "key of Rome"], ["/tenant-oslo", "key of Oslo"]]);
const tenants = (io) => {
  const parent = io.of((name, auth, next) => next(null, KEYS.get(name) === auth.key));
  parent.on("connection", (socket) =>
    socket.on("say", (text, done) => {
      socket.nsp.emit("news", text);
      done();
    }),
  );
  return parent;
};
const names = (io) => [...io._nsps.keys()].filter((name) => name.startsWith("/tenant")).sort();

const counters = (io) => {
  for (const [place, dish] of [["/bar", "a glass of"], ["/kitchen", "a bowl of"]]) {
    io.of(place).on("connection", (socket) => {
      socket.on("order", (what, answer) => answer(`${dish} ${what}`));
    });
  }
};

const claims = {
  "a refusal leaves the client's other namespaces": () =>
    scene(
      (io) => {
        counters(io);
        io.of("/staff").use((socket, next) => next(new Error("you are not staff")));
      },
      async (io, connection) => {
        const line = connection();
        await outcome(line.socket("/staff"));
        return (await outcome(line.socket("/bar"))) === "in";
      },
    ),

  "each namespace can be sent an auth of its own": () =>
    scene(
      (io) => {
        const seen = {};
        for (const place of ["/bar", "/office"])
          io.of(place).use((socket, next) => {
            seen[place] = socket.handshake.auth.key;
            next();
          });
        return seen;
      },
      async (io, connection, seen) => {
        const line = connection();
        await outcome(line.socket("/bar", { key: 1 }));
        await outcome(line.socket("/office", { key: 2 }));
        return seen["/bar"] !== seen["/office"];
      },
    ),

  "who waits at the door gets what all get": () => waits((io) => io.of("/staff")),
  "who waits at the door gets what those inside get": () =>
    waits((io) => io.of("/staff").to("inside")),

  "while it waits, its other namespaces are served": () =>
    scene(
      (io) => {
        const door = gate();
        io.of("/staff").use(door.use);
        return door;
      },
      async (io, connection, door) => {
        const line = connection();
        line.socket("/staff");
        await door.asked();
        return (await line.marked()) && true;
      },
    ),

  "a gate that raises something else lets in": () =>
    new Promise((tell) => {
      const failed = new Promise((raised) => process.once("unhandledRejection", raised));
      tell(
        scene(
          (io) =>
            io.of("/staff").use(async () => {
              throw new TypeError("the database is down");
            }),
          async (io, connection) => {
            const line = connection();
            const staff = line.socket("/staff");
            await failed;
            io.of("/staff").emit("secret");
            const heard = (await line.marked()).length;
            return { told: staff.connected, heard, inside: io.of("/staff").sockets.size };
          },
        ),
      );
    }),

  "who is given up while it waits stays inside": () =>
    scene(
      (io) => {
        const door = gate();
        io.of("/staff").use(door.use);
        return door;
      },
      async (io, connection, door) => {
        const line = connection();
        await outcome(line.root);
        line.socket("/staff");
        const next = await door.asked();
        const [server] = io.sockets.sockets.values();
        const gone = once(server, "disconnect");
        line.manager._close();
        await gone;
        next();
        await connection().marked();
        return io.of("/staff").sockets.size;
      },
    ),

  "a refused event is answered with the reason": () =>
    scene(
      (io) => {
        const errors = [];
        io.of("/office").on("connection", (socket) => {
          socket.use(([event], next) => next(event === "close" ? new Error("no") : undefined));
          socket.on("error", (error) => errors.push(error.message));
          socket.on("close", (answer) => answer("closed"));
          socket.on("open", (answer) => answer("open"));
        });
        return errors;
      },
      async (io, connection, errors) => {
        const office = connection().socket("/office");
        let answer = null;
        office.emit("close", (text) => (answer = text));
        await office.timeout(5000).emitWithAck("open");
        if (errors[0] !== "no") throw new Error("the middleware was not asked");
        return answer;
      },
    ),

  "an unknown namespace is refused": () =>
    scene(() => null, (io, connection) => outcome(connection().socket("/nowhere"))),

  "a pattern is enough to open namespaces on demand": () =>
    scene(
      (io) => io.of(/^\/tenant-\w+$/),
      async (io, connection) => (await outcome(connection().socket("/tenant-rome"))) === "in",
    ),

  "a namespace is made on demand": () =>
    scene(tenants, async (io, connection) => {
      const before = names(io);
      await outcome(connection().socket("/tenant-rome", { key: "key of Rome" }));
      return [before, names(io)];
    }),

  "a tenant that is not approved is told our reason": () =>
    scene(tenants, async (io, connection) => {
      const told = await outcome(connection().socket("/tenant-oslo", { key: "key of Rome" }));
      return told === "no such tenant, or not its key";
    }),

  "one emit reaches all tenants": () =>
    scene(tenants, async (io, connection, parent) => {
      const [ada, bob] = [connection(), connection()];
      await outcome(ada.socket("/tenant-rome", { key: "key of Rome" }));
      await outcome(bob.socket("/tenant-oslo", { key: "key of Oslo" }));
      parent.emit("news", "to all tenants?");
      return (await ada.marked()).length + (await bob.marked()).length;
    }),

  "an empty tenant is gone": () =>
    scene(tenants, async (io, connection) => {
      const line = connection();
      const rome = line.socket("/tenant-rome", { key: "key of Rome" });
      await outcome(rome);
      rome.disconnect();
      await line.marked();
      return names(io).length === 0;
    }),
};

/** What a client that is refused in the end got of what was sent to `target(io)` meanwhile. */
const waits = (target) =>
  scene(
    (io) => {
      const door = gate();
      io.of("/staff").use(door.use);
      return door;
    },
    async (io, connection, door) => {
      const line = connection();
      const staff = line.socket("/staff");
      const next = await door.asked();
      target(io).emit("secret", "the safe is open");
      await line.marked();
      next(new Error("you are not staff"));
      await outcome(staff);
      return (await line.marked()).length;
    },
  );

const outcomes = {};
for (const [claim, ask] of Object.entries(claims)) outcomes[claim] = await ask();
console.log(JSON.stringify(outcomes));
