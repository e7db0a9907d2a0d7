// A driver of lab 12 as a class writes it: it knows nothing of queues, and prints what it does.
import { io } from "socket.io-client";

const socket = io(`http://localhost:${process.argv[2]}/caps`);
socket.on("pickup", (order) => {
  console.log(`DRIVER: picked up ${order.orderId}`);
  socket.emit("in-transit", order);
  socket.emit("delivered", order);
  socket.emit("received", { clientId: "driver", messageId: order.orderId });
});
socket.emit("getAll", { clientId: "driver" });
