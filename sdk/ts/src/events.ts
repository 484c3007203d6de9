import type { RopewalkError } from "./error.js";
import type { SessionEvent } from "./identity.js";
import type { State } from "./link.js";

/** A message that somebody sent to this client. */
export interface Incoming<T = unknown> {
  readonly body: T;
  /** The address of the sender; an answer can be sent there. */
  readonly from: string;
  readonly to: string;
  /** The sender's id of the message. */
  readonly mid: string;
  readonly type: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** A node, as the client knows it. */
export interface NodeInfo {
  readonly id: string;
  readonly name: string;
}

/** The events of a client. */
export interface Events {
  /** The state changed. */
  state: State;
  /** There is a connection to another node than before, or to the first; then the client has another id too. */
  node: NodeInfo;
  /** Somebody sent this client a message. */
  message: Incoming;
  /** Something became of the client's session. */
  session: SessionEvent;
  /**
   * Something failed that no promise tells: the connection, a service that the node refused, a handler with a bug.
   * Without a listener it goes to the console.
   */
  error: RopewalkError;
}
