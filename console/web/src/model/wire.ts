/** What the node's own service answers; see package nodeapi. */

/** One route of node:/services. */
export interface ServiceInfo {
  name: string;
  /** The pattern. */
  path: string;
  servers: ServerInfo[];
}

/** One server of a route. */
export interface ServerInfo {
  id: string;
  version?: string;
  description?: string;
  /** It runs in this node or on a connection of it. */
  local: boolean;
  /** The name of the node where it is. */
  node?: string;
  inFlight: number;
  since?: string;
}

/** One connection of node:/clients. */
export interface ClientInfo {
  id: string;
  listener: string;
  transport: string;
  since: string;
  calling: number;
  answering: number;
  /** How many routes it serves. */
  serves: number;
}

/** The answer of node:/info. */
export interface NodeInfo {
  id: string;
  name: string;
  version: string;
  go: string;
  started: string;
  clients: number;
  routes: number;
  /** Undefined if it meets no other nodes. */
  mesh?: { nodes: number; lost: number; address?: string };
}

/** A part of node:/tap. */
export interface Tapped {
  at: string;
  /** The name of the node that saw it. */
  node?: string;
  verb: string;
  to: string;
  from?: string;
  mid?: string;
  route?: string;
  seq?: number;
  /** Seconds. */
  took?: number;
  /** Of the body, in bytes. */
  size: number;
  body?: string;
  /** Of an error. */
  code?: string;
  missed?: number;
}

/** The answer of node:/schema/NAME/PATH. */
export interface SchemaInfo {
  route: string;
  description?: string;
  in?: Schema;
  out?: Schema;
}

/** The part of JSON Schema that an example is made of. */
export interface Schema {
  type?: string | string[];
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  enum?: unknown[];
  const?: unknown;
  default?: unknown;
  examples?: unknown[];
  anyOf?: Schema[];
  oneOf?: Schema[];
  minimum?: number;
  $ref?: string;
  $defs?: Record<string, Schema>;
}
