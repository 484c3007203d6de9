/**
 * Calls, streams, messages and services over one connection to a Ropewalk node.
 *
 * @packageDocumentation
 */
export { connect, Rope } from "./client.js";
export { RopewalkError } from "./error.js";
export { bytes } from "./message.js";
export { Service } from "./serve.js";
export { RopeStream } from "./stream.js";
