// What a script of Ropewalk finds. Put this file beside your scripts, and editors
// know it; "ropewalk script types" prints it. A tsconfig.json beside it keeps out
// what browsers have and scripts have not:
//
//   {"compilerOptions": {"lib": ["ES2023"], "target": "ES2023", "types": [], "strict": true, "noEmit": true,
//     "module": "ESNext", "moduleResolution": "bundler", "allowImportingTsExtensions": true, "resolveJsonModule": true}}
//
// A script exports what it is good for:
//
//   export default async function (params, ctx) { … }        // a topic
//   export async function call(body, ctx) { … }              // answers calls
//   export async function publish(body, ctx) { … }           // takes what is published
//   export const schedule = "every 5m";                      // or "*/5 8-18 * * 1-5"
//   export async function tick(ctx) { … }                    // runs on the schedule
//   export const events = ["prices:/**"];                    // event topics, granted by "watch"
//   export async function event(e: TopicEvent, ctx) { … }    // handles their events

/** What can be written as JSON. */
type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** What is given to each function of a script, besides params or a body. What was not granted is not there. */
interface Context {
  /** The path of the script. */
  readonly path: string;
  /** True in publish if the content is to be deleted; the body is undefined then. */
  readonly deleted?: boolean;
  readonly log: Log;
  readonly session?: Session;
  readonly db?: Database;
  readonly call?: typeof call;
  readonly publish?: typeof publish;
  readonly content?: typeof content;
  readonly fetch?: typeof fetch;
}

/** An event of a topic, or word that some may be missing. */
interface TopicEvent<T = any> {
  /** The topic's; of a gap it may be the pattern that is watched. */
  readonly address: string;
  /** What was published. Not there in a gap. */
  readonly content?: T;
  /** Who published it, where the topic says that. */
  readonly publisher?: { readonly client?: string; readonly subject?: string };
  /** The position in the topic. */
  readonly epoch?: string;
  readonly offset: number;
  /** True if events may be missing before the next one: also when a node begins to watch. */
  readonly gap?: true;
}

/** Who has the script run. A script that makes use of it is run for each of them. Granted by "session". */
interface Session {
  /** Who it is; "" if that is not known. */
  readonly subject: string;
  readonly issuer?: string;
  readonly authenticated: boolean;
  readonly claims: { readonly [name: string]: any };
}
declare const session: Session;

interface Log {
  info(...values: unknown[]): void;
  warn(...values: unknown[]): void;
  error(...values: unknown[]): void;
  debug(...values: unknown[]): void;
  log(...values: unknown[]): void;
}
declare const log: Log;
declare const console: Log;

interface Written {
  rowsAffected: number;
  keys?: number[];
  rows?: any[];
}
interface Statements {
  /** Runs one statement that reads, with :name for each of the params. A topic is run again when the tables change, but not for what it reads within a transaction. */
  query<Row = any>(sql: string, params?: object): Promise<Row[]>;
  /** Runs statements that write, in one transaction. Granted by "exec". */
  exec(sql: string, params?: object): Promise<Written>;
}
interface Database extends Statements {
  /** Runs f in a transaction, which is rolled back if f throws. */
  transaction<T>(f: (tx: Statements) => Promise<T>): Promise<T>;
  /** Another database, by its name. */
  use(name: string): Database;
}
/** The usual database. Granted by "query" and "exec". */
declare const db: Database;

/** Calls an address, such as "math:/add", and returns the answer. In a script that exports "call" it is ctx.call. */
declare function call<T = any>(address: string, body?: unknown): Promise<T>;
/** Publishes to an address. In a script that exports "publish" it is ctx.publish. */
declare function publish<T = any>(address: string, body: unknown): Promise<T>;
/** Granted by "get". */
declare const content: {
  /** The content of an address. A topic is run again when it changes. */
  get<T = any>(address: string, params?: object): Promise<T>;
};

interface FetchInit {
  method?: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  headers?: { [name: string]: string } | { entries(): Iterable<[string, string]> };
  /** A text, or what makes one of itself, such as URLSearchParams. */
  body?: string | URLSearchParams;
}
interface FetchResponse {
  readonly url: string;
  readonly status: number;
  readonly ok: boolean;
  readonly headers: { get(name: string): string | null; has(name: string): boolean; entries(): IterableIterator<[string, string]> };
  text(): Promise<string>;
  json<T = any>(): Promise<T>;
  bytes(): Promise<Uint8Array>;
}
/** Asks by HTTP, the hosts that were granted by "fetch". */
declare function fetch(url: string | URL, init?: FetchInit): Promise<FetchResponse>;

/** An error whose code callers and watchers see. Any other error becomes script_failed. */
declare class ScriptError extends Error {
  constructor(
    code: "invalid_input" | "not_found" | "conflict" | "forbidden" | "unauthenticated" | "source_down" | "unimplemented",
    message: string,
    more?: { hint?: string; details?: unknown },
  );
  readonly code: string;
  readonly hint?: string;
  readonly details?: unknown;
}

declare const crypto: {
  randomUUID(): string;
  getRandomValues<T extends ArrayBufferView>(array: T): T;
  /** SHA-256 of a text, in hexadecimal. */
  sha256(text: string): string;
  /** HMAC with SHA-256, in hexadecimal. */
  hmac(key: string, text: string): string;
};

declare function atob(text: string): string;
declare function btoa(text: string): string;
declare function structuredClone<T>(value: T): T;
declare class TextEncoder {
  readonly encoding: string;
  encode(text?: string): Uint8Array;
}
declare class TextDecoder {
  /** Only "utf-8" is known. */
  constructor(label?: string);
  readonly encoding: string;
  decode(data?: ArrayBuffer | ArrayBufferView): string;
}
declare class URLSearchParams {
  constructor(init?: string | { [name: string]: string } | Iterable<[string, string]>);
  append(name: string, value: string): void;
  delete(name: string): void;
  get(name: string): string | null;
  getAll(name: string): string[];
  has(name: string): boolean;
  set(name: string, value: string): void;
  sort(): void;
  toString(): string;
  readonly size: number;
  forEach(f: (value: string, name: string, all: URLSearchParams) => void): void;
  entries(): IterableIterator<[string, string]>;
  keys(): IterableIterator<string>;
  values(): IterableIterator<string>;
  [Symbol.iterator](): IterableIterator<[string, string]>;
}
declare class URL {
  constructor(text: string, base?: string);
  static canParse(text: string, base?: string): boolean;
  readonly origin: string;
  readonly host: string;
  readonly href: string;
  readonly searchParams: URLSearchParams;
  toString(): string;
  toJSON(): string;
  protocol: string;
  username: string;
  password: string;
  hostname: string;
  port: string;
  pathname: string;
  search: string;
  hash: string;
}
