/**
 * Calls, streams, messages, topics and services over one connection to a Ropewalk node.
 *
 * @packageDocumentation
 */
export { connect, type Rope } from "./client.js";
export type { Backoff } from "./close.js";
export type { Emitter } from "./emitter.js";
export { RopewalkError, type Code, type ErrorInfo } from "./error.js";
export type { Events, Incoming, NodeInfo } from "./events.js";
export type { Answer, Asked, Gathered } from "./gather.js";
export type { Session, SessionEvent, SessionPatch, TokenStore } from "./identity.js";
export type { State } from "./link.js";
export { bytes, type Bytes, type Framing } from "./message.js";
export type {
  CallOptions, Candidates, ConnectOptions, GatherOptions, MessageOptions, SendOptions, Strategy, StreamOptions,
} from "./options.js";
export { At, type FeedOptions, type WatchContext, type WatchHandler } from "./feed.js";
export type { Context, Handler, Route, ServeOptions, Service, WatchRoute } from "./serve.js";
export type { RopeStream } from "./stream.js";
export type { SocketLike, TransportKind, WebSocketLike } from "./transport.js";
export type { Gap, GetOptions, Publisher, PublishOptions, Update, Watch, WatchOptions } from "./watch.js";
