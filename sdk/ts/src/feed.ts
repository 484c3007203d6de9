import { RopewalkError, toWire } from "./error.js";
import { readSession, type Session } from "./identity.js";
import type { Line } from "./line.js";
import { encodeBody, type Decoded, type Encoded } from "./message.js";
import type { Address } from "./pattern.js";
import type { Host } from "./serve.js";

/** What a handler of a watched route is told beside its parameters. */
export interface WatchContext {
  /** Aborts when nobody watches any more. */
  readonly signal: AbortSignal;
  readonly to: string;
  readonly path: string;
  /** What follows the question mark, as it came. */
  readonly query: string;
  /** Of a route that is `personal`: whose watch it is; undefined for nobody. */
  readonly session: Session | undefined;
}

/**
 * An event of one address, for those who watch many by a pattern such as ticker:/*: what a handler of events yields in
 * place of the event. Its path parameters are then * too, or ** for any rest. An event of an address that nobody watches
 * goes to nobody.
 */
export class At<T = unknown> {
  /** The path is as in the address: /ACME of ticker:/ACME. */
  constructor(readonly path: string, readonly event: T) {}
}

/**
 * Yields what a topic holds, each content or event. Its parameters are those of the watch, and the segments of the path
 * in the places of {name}.
 */
export type WatchHandler<P = any, T = unknown> = (params: P, ctx: WatchContext) => AsyncIterable<T>;

/** How a route can be watched. */
export interface FeedOptions {
  description?: string | undefined;
  /** Each one counts, as in a log; else only the newest content matters. */
  events?: boolean | undefined;
  /**
   * What becomes of events that a watch is too slow for: `gap`, which it is told and can fill from the history (the
   * default), `drop`, which drops the oldest without a word, `disconnect`.
   */
  slow?: "gap" | "drop" | "disconnect" | undefined;
  /** How many events are kept for those who come back: so many, bytes, and milliseconds. */
  history?: { count?: number; bytes?: number; age?: number } | undefined;
  /** Nodes keep who watches. */
  presence?: boolean | undefined;
  /** Who watches is told who published an event. */
  publisher?: boolean | undefined;
  /** What is seen depends on who looks: each session has a run of its own. */
  personal?: boolean | undefined;
}

interface Reader {
  readonly id: string;
  readonly line: Line;
  /** It wants one content. */
  readonly once: boolean;
}

interface Said {
  readonly body: Encoded | undefined;
  readonly fault: true | undefined;
  readonly to: string | undefined;
}

/** One run of a handler, for all who watch the same. */
class Run {
  readonly readers = new Set<Reader>();
  readonly abort = new AbortController();
  last: Said | undefined;

  constructor(readonly key: string, readonly events: boolean) {}
}

/** What is watched of a service. */
export class Feeds {
  readonly #host: Host;
  readonly #limit: number;
  readonly #runs = new Map<string, Run>();
  readonly #reads = new Map<string, { readonly run: Run; readonly reader: Reader }>(); // by connection and id

  constructor(host: Host, limit: number) {
    this.#host = host;
    this.#limit = limit;
  }

  /** Answers a get or subscribe. */
  read(m: Decoded, line: Line, address: Address, route: FeedOptions & { watch: WatchHandler }, found: Readonly<Record<string, string>>): void {
    const reader: Reader = { id: m.mid ?? "", line, once: m.verb === "get" };
    if (reader.once && route.events) return this.#end(reader, new RopewalkError("unimplemented", `${m.to} has events, and no content to get`, { path: m.to }));
    if (!route.events && /\/\*\*?(\/|$)/.test(address.path)) {
      return this.#end(reader, new RopewalkError("bad_address", `${m.to} cannot be watched by a pattern`, { path: m.to, hint: "Watch each address." }));
    }
    const session = route.personal ? readSession(m.session) : undefined;
    const params = (m.body as { params?: object } | undefined)?.params ?? {};
    // The node says the same parameters in the same order.
    const key = JSON.stringify([address.path, address.query, params, session?.id]);
    let run = this.#runs.get(key);
    if (!run && this.#runs.size >= this.#limit) {
      return this.#end(reader, new RopewalkError("overloaded", "too many topics of the service are watched", { retryable: true }));
    }
    const fresh = !run;
    run ??= new Run(key, route.events ?? false);
    run.readers.add(reader);
    this.#runs.set(key, run);
    this.#reads.set(idOf(reader.id, line), { run, reader });
    if (run.last && !run.events) this.#tell(run, reader, run.last);
    if (!fresh) return;
    const { signal } = run.abort;
    void this.#run(run, m.to ?? "", address.name, () => route.watch({ ...params, ...found }, { signal, to: m.to ?? "", path: address.path, query: address.query, session }));
  }

  /** Somebody does not watch any more. */
  cancel(id: string, line: Line): boolean {
    const read = this.#reads.get(idOf(id, line));
    if (read) this.#leave(read.run, read.reader);
    return read !== undefined;
  }

  /** A connection is gone. */
  lost(line: Line): void {
    for (const { run, reader } of [...this.#reads.values()]) if (reader.line === line) this.#leave(run, reader);
  }

  /** Ends all. */
  end(err: RopewalkError): void {
    for (const run of [...this.#runs.values()]) this.#fail(run, err);
  }

  async #run(run: Run, to: string, name: string, start: () => AsyncIterable<unknown>): Promise<void> {
    const { signal } = run.abort;
    try {
      const contents = start()[Symbol.asyncIterator]();
      signal.addEventListener("abort", () => void contents.return?.()?.catch(() => {}));
      for (let r; !(r = await contents.next()).done && !signal.aborted;) {
        let v = r.value;
        const bad = v instanceof RopewalkError;
        const at = run.events && v instanceof At ? `${name}:${v.path}` : undefined;
        if (v instanceof At) v = v.event;
        run.last = { body: encodeBody(bad ? toWire(v) : v ?? null), fault: bad || undefined, to: at };
        for (const reader of [...run.readers]) this.#tell(run, reader, run.last);
        await this.#host.room();
      }
    } catch (err) {
      if (signal.aborted) return;
      this.#fail(run, err);
      if (!(err instanceof RopewalkError)) {
        this.#host.report(new RopewalkError("internal", `the handler of ${to} failed: ${String(err)}`, { cause: err, path: to }));
      }
    }
  }

  #tell(run: Run, reader: Reader, { body, fault, to }: Said): void {
    const { id, line, once } = reader;
    const sent = this.#host.post({ verb: !once ? "part" : fault ? "error" : "reply", rmid: id, body, to, fault: once ? undefined : fault }, line);
    if (once || !sent) this.#leave(run, reader);
  }

  #leave(run: Run, reader: Reader): void {
    this.#reads.delete(idOf(reader.id, reader.line));
    if (!run.readers.delete(reader) || run.readers.size) return;
    this.#runs.delete(run.key);
    run.abort.abort(new RopewalkError("canceled", "nobody watches any more"));
  }

  #fail(run: Run, err: unknown): void {
    for (const reader of [...run.readers]) {
      this.#end(reader, err);
      this.#leave(run, reader);
    }
  }

  #end({ id, line }: Reader, err: unknown): void {
    this.#host.post({ verb: "error", rmid: id, body: encodeBody(toWire(err)) }, line);
  }
}

function idOf(id: string, line: Line): string {
  return `${line.id} ${id}`;
}
