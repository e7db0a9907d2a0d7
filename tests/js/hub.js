// A producer and a consumer of the hub's own protocol, with nothing but the official client.
import { io } from "socket.io-client";

const [url, token] = process.argv.slice(2);
const stranger = io(url, { auth: { token: "wrong" }, reconnection: false, forceNew: true });
const refused = await new Promise((resolve) => stranger.on("connect_error", resolve));
stranger.disconnect();

const options = { auth: { token }, reconnection: false, forceNew: true };
const [producer, consumer] = [io(url, options), io(url, options)];
const ask = (socket, event, data) => socket.timeout(20_000).emitWithAck(event, data);

const got = [];
const all = new Promise((resolve) => {
  consumer.on("pickup", (order, delivery, ack) => {
    got.push([order, delivery.queue, delivery.attempt, delivery.redelivered]);
    if (order.n === 3 && delivery.attempt === 1) {
      consumer.emit("failed", { receipt: delivery.receipt, reason: "later", delay: 0 });
    } else if (order.n % 2) {
      ack(delivery.receipt);
    } else {
      consumer.emit("received", { receipt: delivery.receipt });
    }
    if (got.length === 51) resolve();
  });
});
const subscribed = await ask(consumer, "subscribe", { queue: "drivers", window: 8 });
const answers = await Promise.all(
  [...Array(50).keys()].map((n) =>
    ask(producer, "publish", { queue: "drivers", event: "pickup", data: { n, raw: Buffer.from([n]) } }),
  ),
);
await all;
let stats;
do {
  stats = await ask(producer, "stats", { queue: "drivers" });
} while (stats.leased || stats.ready);
const malformed = await ask(producer, "publish", { queue: "drivers" });
console.log(
  JSON.stringify({
    refused: [refused.message, refused.data],
    subscribed,
    ids: new Set(answers.map((answer) => answer.id)).size,
    numbers: got.map(([order]) => order.n),
    bytes: got.every(([order]) => Buffer.isBuffer(order.raw) && order.raw[0] === order.n),
    redelivered: got.filter(([, , attempt, again]) => again && attempt === 2).length,
    stats,
    malformed: malformed.error.code,
  }),
);
for (const socket of [producer, consumer]) socket.disconnect();
