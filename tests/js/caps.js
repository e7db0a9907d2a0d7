// Clients of the CAPS labs as a class writes them: no acknowledgements, emits before the connection
// is there, two sockets in one process. Prints what each of them was given.
import { io } from "socket.io-client";

const [url, ...transports] = process.argv.slice(2);
const sockets = [];
const come = (options) => {
  const socket = io(url, { reconnection: false, transports, ...options });
  sockets.push(socket);
  return socket;
};
// Asks again after each event of `socket`.
const until = (socket, done, what) =>
  new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`still waiting for ${what}`)), 20_000);
    const look = () => {
      if (!done()) return;
      clearTimeout(late);
      socket.offAny(looks);
      resolve();
    };
    const looks = () => queueMicrotask(look);
    socket.onAny(looks);
  });
const stored = (socket) => socket.timeout(20_000).emitWithAck("received", { messageId: "-" });

const flowers = "1-206-flowers";
const packages = [...Array(120).keys()].map((n) => ({
  event: "pickup",
  messageId: `m${n}`,
  queueId: n % 2 ? flowers : "acme-widgets",
  order: { store: n % 2 ? flowers : "acme-widgets", orderId: `m${n}`, customer: "Ada", address: "Kent" },
}));

// The vendor emits at once, while it is not even connected.
let vendor = come();
vendor.emit("JOIN", flowers);
for (const one of packages) vendor.emit("PICKUP", one);
await stored(vendor);
vendor.disconnect();

// The driver was off: he asks, on one socket; he says what he received on another.
const driver = come();
const voice = come({ forceNew: true });
const picked = [];
driver.on("PICKUP", (one) => {
  picked.push(one);
  voice.emit("received", { queueId: "driver", messageId: one.messageId });
  driver.emit("in-transit", one);
  driver.emit("delivered", { ...one, event: "delivered" });
});
driver.emit("join", "drivers");
driver.emit("getAll", { queueId: "driver" });
await until(driver, () => picked.length >= packages.length, "pickups");
await stored(voice);
await stored(driver);
driver.emit("getAll", { queueId: "driver" });
await stored(driver);
const again = picked.length - packages.length;

// The vendor was off, too.
vendor = come();
const got = [];
vendor.on("in-transit", (one) => got.push(["in-transit", one]));
vendor.on("delivered", (one) => {
  got.push(["delivered", one]);
  vendor.emit("received", one);
});
vendor.emit("join", { store: flowers });
vendor.emit("GET-ALL", { clientId: flowers });
await until(vendor, () => got.length >= 120, "deliveries");
await stored(vendor);
const mine = got.every(([, one]) => one.order.store === flowers);
const delivered = got.filter(([event]) => event === "delivered").length;
got.length = 0;
await vendor.timeout(20_000).emitWithAck("getAll", { clientId: flowers, event: "delivered" });
console.log(
  JSON.stringify({ picked: picked.map((one) => one.messageId), again, mine, delivered, left: got.length }),
);
for (const socket of sockets) socket.disconnect();
