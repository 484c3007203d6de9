// Prints what the client weighs when it is bundled and compressed, and fails if that is too much.
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

// Calls, services and sessions are 13.5 kB of it; watching topics 4.4, of which changes 0.9; serving them 1.1.
const limit = 19_400;
const size = gzipSync(readFileSync(new URL("../dist/ropewalk.min.js", import.meta.url)), { level: 9 }).length;
console.log(`ropewalk.min.js: ${size} bytes gzipped, at most ${limit}`);
if (size > limit) process.exitCode = 1;
