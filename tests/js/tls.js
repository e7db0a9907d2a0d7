// A client of the hub's own protocol over TLS, on each transport, with the official client.
import { io } from "socket.io-client";

const [url, token] = process.argv.slice(2);
for (const transport of ["websocket", "polling"]) {
  const options = { auth: { token }, transports: [transport], reconnection: false, forceNew: true };
  const socket = io(url, options);
  const ask = (event, data) => socket.timeout(10_000).emitWithAck(event, data);
  const got = new Promise((resolve, reject) => {
    socket.on("connect_error", reject);
    socket.on("e", (data, delivery, ack) => {
      ack(delivery.receipt);
      resolve(`e ${data}`);
    });
  });
  await ask("subscribe", { queue: transport });
  await ask("publish", { queue: transport, event: "e", data: 1 });
  console.log(`${transport}: ${await got}`);
  socket.disconnect();
}
