// Prints what the client weighs when it is bundled and compressed, and fails if that is too much.
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const limit = 13_500;
const size = gzipSync(readFileSync(new URL("../dist/ropewalk.min.js", import.meta.url)), { level: 9 }).length;
console.log(`ropewalk.min.js: ${size} bytes gzipped, at most ${limit}`);
if (size > limit) process.exitCode = 1;
