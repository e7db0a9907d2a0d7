// The kinds of vendors and drivers that classes write for the CAPS labs, each as short as theirs.
// Arguments: kind, "vendor" | "driver", URL, and for a vendor how many packages it has (0: it only
// comes back). Prints a line of JSON for each step, and runs until it is killed.
import { io } from "socket.io-client";

const [kind, role, url, count = "0"] = process.argv.slice(2);
const say = (what) => console.log(JSON.stringify(what));
const socket = io(url, { reconnectionDelay: 50, reconnectionDelayMax: 100 });
const orders = [...Array(Number(count)).keys()].map((n) => ({
  store: "corner-books",
  orderId: `order-${n}`,
  customer: "Grace",
  address: "Tacoma, WA",
}));
const picked = (id) => say({ picked: id });
const thanks = (id) => say({ delivered: id });
const stored = (id) => () => say({ stored: id });
// Drivers do not deliver at once.
const later = (work) => setTimeout(work, 20);
const random = Math.random().toString(36).slice(2);

const kinds = {
  // Nobody asks or acknowledges anything.
  bare: {
    vendor() {
      socket.emit("join", "corner-books");
      for (const order of orders) socket.emit("pickup", order);
      socket.on("delivered", (order) => thanks(order.orderId));
    },
    driver() {
      socket.on("pickup", (order) => {
        picked(order.orderId);
        later(() => socket.emit("in-transit", order));
        later(() => socket.emit("delivered", order, stored(order.orderId)));
      });
    },
  },
  // Delivers when it hears its own in-transit; and its receipts say which queue, but not what.
  echo: {
    vendor() {
      socket.emit("GETALL", { queueId: "corner-books" });
      for (const order of orders) socket.emit("PICKUP", { ...order, queueId: "corner-books" });
      socket.on("DELIVERED", (order) => {
        socket.emit("RECEIVED", { queueId: "corner-books" });
        thanks(order.orderId);
      });
    },
    driver() {
      socket.emit("GETALL", { queueId: "DRIVERS" });
      socket.on("PICKUP", (order) => {
        later(() => {
          picked(order.orderId);
          socket.emit("RECEIVED", { queueId: "DRIVERS" });
          socket.emit("IN_TRANSIT", order);
        });
      });
      socket.on("IN_TRANSIT", (order) => later(() => socket.emit("DELIVERED", order)));
      socket.on("DELIVERED", () => {});
    },
  },
  // Words of no table, for everything.
  words: {
    vendor() {
      socket.emit("vendorFetchMissed", { vendorId: "corner-books" });
      for (const order of orders) socket.emit("parcel-ready", order);
      socket.on("parcel-dropped-off", (order) => {
        socket.emit("vendor:got-receipt", order);
        thanks(order.orderId);
      });
    },
    driver() {
      socket.emit("retrieveParcels", { driverId: "driver" });
      socket.on("parcel-ready", (order) => {
        picked(order.orderId);
        socket.emit("parcelReceivedByDriver", { driverId: "driver", orderId: order.orderId });
        later(() => socket.emit("parcel-en-route", order));
        later(() => socket.emit("parcel-dropped-off", order));
      });
    },
  },
  // The event holds the order, and the driver has another name each time.
  named: {
    vendor() {
      socket.emit("JOIN", { clientId: "corner-books" });
      socket.emit("get-all", { clientId: "corner-books", event: "delivered" });
      for (const payload of orders)
        socket.emit("pickup", { event: "pickup", time: new Date(), payload });
      socket.on("delivered", ({ payload }) => {
        socket.emit("received", { clientId: "corner-books", event: "delivered", messageId: payload.orderId });
        thanks(payload.orderId);
      });
    },
    driver() {
      const clientId = `driver-${random}`;
      socket.emit("get-all", { clientId, event: "pickup" });
      socket.on("pickup", (event) => {
        picked(event.payload.orderId);
        socket.emit("received", { clientId, event: "pickup", messageId: event.payload.orderId });
        later(() => socket.emit("in-transit", { ...event, event: "in-transit" }));
        later(() => socket.emit("delivered", { ...event, event: "delivered" }));
      });
    },
  },
  // What waits comes wrapped, in an event of its own; a table says so.
  wrapped: {
    vendor() {
      socket.emit("any-news", "corner-books");
      for (const order of orders) socket.emit("pickup", order);
      socket.on("news", ({ id, payload }) => {
        if (payload.orderId !== id) throw new Error("another order");
        thanks(id);
        socket.emit("received", payload);
      });
      socket.on("delivered", (order) => {
        thanks(order.orderId);
        socket.emit("received", order);
      });
    },
    driver() {
      const go = (order) => {
        picked(order.orderId);
        socket.emit("received", { queueId: "drivers", ...order });
        later(() => socket.emit("in-transit", order));
        later(() => socket.emit("delivered", order));
      };
      socket.emit("parcels?", { event: "pickup", clientId: "drivers" });
      socket.on("pickup", go);
      socket.on("waiting", ({ event, clientId, order }) => {
        if (event !== "pickup" || clientId !== order.store) throw new Error("another shape");
        go(order);
      });
    },
  },
  // Drivers say no more than which order it is; and emit through a second socket.
  terse: {
    vendor() {
      socket.emit("subscribe", "corner-books");
      socket.emit("getAll", { store: "corner-books" });
      for (const order of orders) socket.emit("pickup", order);
      socket.on("delivered", ({ orderId }) => {
        socket.emit("received", { store: "corner-books", orderId });
        thanks(orderId);
      });
    },
    driver() {
      const voice = io(url, { forceNew: true });
      socket.emit("join", "drivers");
      socket.emit("getAll", "drivers");
      socket.on("pickup", ({ orderId }) => {
        picked(orderId);
        later(() => voice.emit("in-transit", { orderId }));
        later(() => voice.emit("delivered", { orderId }));
        later(() => voice.emit("received", { queueId: "drivers", orderId }));
      });
    },
  },
  // Its own hub hands everything on under another word; nobody asks.
  renamed: {
    vendor() {
      socket.emit("join-group", "corner-books");
      for (const order of orders) socket.emit("pickup-requested", order);
      socket.on("delivered", (order) => {
        socket.emit("delivery:thank_you", order);
        thanks(order.orderId);
      });
    },
    driver() {
      socket.on("pickup", (order) => {
        picked(order.orderId);
        later(() => socket.emit("parcel-on-the-way", order));
      });
      socket.on("in-transit", (order) =>
        later(() => socket.emit("parcel-dropped-off", order, stored(order.orderId))),
      );
    },
  },
  // The driver says so when it is ready, at first and after each package; nobody acknowledges.
  ready: {
    vendor: () => kinds.bare.vendor(),
    driver() {
      socket.emit("ready-again");
      socket.on("pickup", (order) => {
        picked(order.orderId);
        later(() => {
          socket.emit("in-transit", order);
          socket.emit("delivered", order, stored(order.orderId));
          socket.emit("ready-again");
        });
      });
    },
  },
  // Each has a second socket that says nothing, and might be anybody.
  silent: {
    vendor() {
      io(url, { forceNew: true });
      kinds.bare.vendor();
    },
    driver() {
      io(url, { forceNew: true });
      kinds.bare.driver();
    },
  },
  // The driver asks by the name of the store; the store asks with a package in its hand.
  borrowed: {
    vendor() {
      socket.emit("catchUpVendor", { store: "corner-books", orderId: "none", customer: "Grace" });
      for (const order of orders) socket.emit("pickup", order);
      socket.on("delivered", (order) => {
        if (order.orderId !== "none") thanks(order.orderId);
      });
    },
    driver() {
      socket.emit("GET-NOTICES", { queueId: "corner-books" });
      kinds.bare.driver();
    },
  },
  // A package says nowhere whose it is: its vendor has joined.
  nameless: {
    vendor() {
      socket.emit("join", { clientId: "vendor", store: "Corner-Books" });
      for (const { orderId } of orders)
        socket.emit("pickup", { title: "a parcel", payload: { orderId, customer: "Grace" } });
      socket.on("delivered", ({ payload }) => thanks(payload.orderId));
      if (!orders.length) socket.emit("get-delivereies", "Corner-Books");
    },
    driver() {
      socket.emit("get-packages");
      socket.on("pickup", (event) => {
        const { orderId } = event.payload;
        picked(orderId);
        later(() => socket.emit("in-transit", event));
        later(() => socket.emit("delivered", event, stored(orderId)));
      });
    },
  },
  // It looks for the order where no vendor puts it, and dies; the class starts it again.
  mortal: {
    vendor: () => kinds.bare.vendor(),
    driver() {
      socket.emit("getAll", { clientId: "drivers" });
      socket.on("pickup", (event) => {
        later(() => {
          picked(event.order.orderId);
          socket.emit("in-transit", event.order);
          socket.emit("delivered", event.order, stored(event.order.orderId));
        });
        socket.emit("hello", event.order.orderId);
      });
    },
  },
  // The first package has nothing in it, and no driver survives that.
  poison: {
    vendor() {
      if (orders.length) socket.emit("pickup", {});
      kinds.bare.vendor();
    },
    driver() {
      socket.emit("getAll", { clientId: "drivers" });
      socket.on("pickup", (order) => {
        later(() => {
          picked(order.customer.toUpperCase() && order.orderId);
          socket.emit("in-transit", order);
          socket.emit("delivered", order, stored(order.orderId));
          socket.emit("received", { clientId: "drivers", messageId: order.orderId });
        });
      });
    },
  },
};

kinds[kind][role]();
// All of it is stored once this is answered.
socket.emit("received", { clientId: "nobody", messageId: "-" }, () => say("ready"));
