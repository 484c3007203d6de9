// Serves math, text and report over a connection to a node. Start it beside "ropewalk dev", as often as you like: the
// node shares the calls among all that serve a path, and a gather asks each of them.
//
//     npm install
//     npm start -- ws://localhost:7420
import { connect } from "@ropewalk/client";
import { WebSocket } from "ws";
import { serve } from "./services.js";

const url = process.argv[2] ?? "ws://localhost:7420";
// Node 20 has no WebSocket of its own. Without this option the client would use HTTP streams.
const rope = connect(url, { WebSocket });

let stopped = false;

rope.on("error", (err) => console.error(`hello: ${err.message}${err.hint && ` (${err.hint})`}`));
rope.on("state", (state) => {
  if (state === "connected") console.log(`connected to ${url} as ${rope.id}`);
  if (state === "closed" && !stopped) process.exitCode = 1;
});

for (const service of serve(rope)) {
  service.ready.then(() => console.log(`serving ${service.name}`), () => rope.close());
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    stopped = true;
    void rope.close(); // calls that are being answered are finished
  });
}
