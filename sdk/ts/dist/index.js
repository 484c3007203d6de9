/**
 * Calls, streams, messages, topics and services over one connection to a Ropewalk node.
 *
 * @packageDocumentation
 */
export { connect } from "./client.js";
export { RopewalkError } from "./error.js";
export { bytes } from "./message.js";
export { At } from "./feed.js";
