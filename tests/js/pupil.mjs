// One of a class at a hub, with nothing but the official client: a store publishes its orders until
// all are confirmed, a driver delivers each once. The same in a page and under Node.
//
// Under Node: `node pupil.mjs URL NAME ROLE ORDERS` prints a line for each change, until it is ended.

export function pupil(io, url, who, role, orders, changed = () => {}) {
  const state = { who, confirmed: 0, done: [], again: 0 };
  const socket = io(url, { forceNew: true, reconnectionDelay: 100, reconnectionDelayMax: 300 });
  let publishing = false;

  socket.on("connect", () => {
    if (role === "driver") {
      // Subscriptions belong to a connection.
      socket.emit("subscribe", { queue: "drivers", window: 2, name: who });
    } else if (!publishing) {
      publish();
    }
  });

  async function publish() {
    publishing = true;
    while (state.confirmed < orders) {
      const order = { store: who, n: state.confirmed };
      const asked = { queue: "drivers", event: "pickup", data: order, key: `${who}-${order.n}` };
      try {
        // What is not confirmed is published again, with its key.
        const answer = await socket.timeout(1000).emitWithAck("publish", asked);
        if (answer.id) state.confirmed += 1;
      } catch {
        continue;
      }
      changed(state);
    }
  }

  socket.on("pickup", (order, delivery, ack) => {
    // At least once: who remembers the id does it once.
    if (state.done.includes(delivery.id)) state.again += 1;
    else state.done.push(delivery.id);
    changed(state);
    // Somebody who works for a moment.
    setTimeout(() => ack(delivery.receipt), 5);
  });
  return state;
}

if (typeof process !== "undefined" && process.argv[1]?.endsWith("pupil.mjs")) {
  const { io } = await import("socket.io-client");
  const [url, who, role, orders] = process.argv.slice(2);
  pupil(io, url, who, role, Number(orders), (state) => console.log(JSON.stringify(state)));
  process.stdin.resume();
  process.stdin.on("end", () => process.exit(0));
}
