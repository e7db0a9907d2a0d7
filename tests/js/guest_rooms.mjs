// Guests from Node in the rooms of lesson 04's own server, whose address is the only argument.
// Prints {step: outcome}. An answer to `leave` proves that all that was sent before has arrived.

import { once } from "node:events";
import { io as connect } from "socket.io-client";

const [url] = process.argv.slice(2);
const heard = { nora: [], omar: [] };

async function dial(name) {
  const client = connect(url, { transports: ["websocket"], query: { name }, reconnection: false });
  client.on("said", (text) => heard[name].push(text));
  await once(client, "connect");
  return client;
}
const ask = (client, ...request) => client.timeout(5000).emitWithAck(...request);

const nora = await dial("nora");
const omar = await dial("omar");
const outcomes = {};

const names = [null, "", 0, 17, [], ["book club"], {}, true, "x".repeat(10_000), omar.id, nora.id];
const hostile = new Set();
for (const name of names) {
  hostile.add(await ask(nora, "join", name));
  hostile.add(await ask(nora, "join", name, "moby-dick"));
  hostile.add(await ask(nora, "join", "book club", name));
  hostile.add(await ask(nora, "leave", name));
  hostile.add(await ask(nora, "say", name, "from a stranger"));
}
outcomes.hostile = [...hostile].sort();
outcomes["still there"] = await ask(nora, "leave", "book club");

outcomes["without invitation"] = await ask(nora, "join", "book club");
outcomes["a stranger speaks"] = await ask(nora, "say", "book club", "from a stranger");
outcomes.nora = await ask(nora, "join", "book club", "moby-dick");
outcomes.omar = await ask(omar, "join", "book club", "moby-dick");
outcomes["nora speaks"] = await ask(nora, "say", "book club", "from nora");
outcomes["omar leaves"] = await ask(omar, "leave", "book club");
outcomes["nora speaks again"] = await ask(nora, "say", "book club", "without omar");
await ask(omar, "leave", "book club");
outcomes.heard = heard;

console.log(JSON.stringify(outcomes));
nora.disconnect();
omar.disconnect();
