// As much of a Socket.IO client as the hub's page needs, for a hub beside which none is installed.
//
// One namespace, websocket only, text only; it connects again by itself, as the official one does:
// at once when the connection is lost, then later and later; not when the server has refused it.
"use strict";

function io(namespace, options) {
  const handlers = {};
  const answers = new Map();
  const socket = { auth: options.auth, on, emit, connect, disconnect };
  let line = null;
  let asked = 0;
  let failures = 0;
  let timer = 0;
  let there = false;

  function on(event, handler) {
    handlers[event] = handler;
  }

  function emit(event, data, answer) {
    answers.set(++asked, answer);
    line.send(`42${namespace},${asked}${JSON.stringify([event, data])}`);
  }

  function connect() {
    clearTimeout(timer);
    if (line) {
      // While the line is not open yet: who is asked for then is told who this is now.
      if (line.readyState === WebSocket.OPEN) enter();
      return;
    }
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const mine = new WebSocket(`${scheme}//${location.host}/socket.io/?EIO=4&transport=websocket`);
    line = mine;
    there = false;
    let silence = 0;

    mine.onmessage = ({ data }) => {
      clearTimeout(silence);
      // The server pings each 25 s: a line on which nothing comes for 45 is dead.
      silence = setTimeout(() => mine.close(), 45000);
      if (data[0] === "0") enter();
      else if (data === "2") mine.send("3");
      else if (data.startsWith(`40${namespace},`)) {
        there = true;
        failures = 0;
        handlers.connect?.();
      } else if (data.startsWith(`44${namespace},`)) {
        const { message, data: more } = JSON.parse(data.slice(namespace.length + 3));
        handlers.connect_error?.(Object.assign(new Error(message), { data: more }));
      } else if (data.startsWith(`42${namespace},`)) {
        const [event, ...values] = JSON.parse(data.slice(data.indexOf("[")));
        handlers[event]?.(...values);
      } else if (data.startsWith(`43${namespace},`)) {
        const start = data.indexOf("[");
        const number = Number(data.slice(namespace.length + 3, start));
        answers.get(number)?.(...JSON.parse(data.slice(start)));
        answers.delete(number);
      }
    };

    mine.onclose = () => {
      clearTimeout(silence);
      line = null;
      answers.clear();
      if (there) handlers.disconnect?.("transport close");
      else handlers.connect_error?.(new Error("websocket error"));
      // All who look try again when a hub comes back: not all at the same moment.
      timer = setTimeout(connect, Math.min(5000, 1000 * 2 ** failures++) * (0.5 + Math.random()));
    };
  }

  function enter() {
    line.send(`40${namespace},${JSON.stringify(socket.auth)}`);
  }

  function disconnect() {
    if (there) line.send(`41${namespace},`);
    there = false;
  }

  connect();
  return socket;
}
