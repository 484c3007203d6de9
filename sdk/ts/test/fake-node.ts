// A node that does what a test tells it, on real sockets, with a codec of its own so that a bug in ours shows.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocket, WebSocketServer } from "ws";

/** A message as the wire names its fields. */
export interface Wire {
  vrb?: string;
  to?: string;
  frm?: string;
  mid?: string;
  rmid?: string;
  tmo?: number;
  hdr?: Record<string, string>;
  str?: unknown;
  cty?: string;
  aut?: string;
  ses?: unknown;
  typ?: string;
  ack?: boolean;
  seq?: number;
  tpc?: string;
  epo?: string;
  off?: number;
  flt?: boolean;
  pub?: unknown;
  bdy?: unknown;
}

export interface FakeOptions {
  websocket?: boolean; // default true
  http?: boolean; // default true
  stream?: boolean; // default true; false: the response never begins, as behind a proxy that buffers
  welcome?: boolean; // default true
  limits?: { frame?: number; calls?: number };
  port?: number;
  /** Its id. */
  name?: string;
  /** What its welcome says of the nodes that there are. */
  nodes?: unknown;
  /** Answers a message; without it messages are only kept. */
  on?: (m: Wire, conn: Conn) => void;
}

/** One connection of a client. */
export abstract class Conn {
  readonly got: Wire[] = [];
  #wanted: { fits: (m: Wire) => boolean; found: (m: Wire) => void }[] = [];
  #closed!: (v: { code: number; reason: string }) => void;
  readonly closed = new Promise<{ code: number; reason: string }>((r) => { this.#closed = r; });

  constructor(readonly id: string, readonly framing: string, readonly kind: string, readonly node: FakeNode) {}

  abstract raw(frame: string | Uint8Array): void;
  abstract close(code?: number, reason?: string): void;
  /** Breaks the connection without a word. */
  abstract kill(): void;

  /** The first message that was not waited for yet and fits, now or later. */
  take(fits: string | ((m: Wire) => boolean)): Promise<Wire> {
    const test = typeof fits === "string" ? (m: Wire): boolean => (m.vrb ?? "call") === fits : fits;
    const at = this.got.findIndex(test);
    if (at >= 0) return Promise.resolve(this.got.splice(at, 1)[0]!);
    return new Promise((found) => this.#wanted.push({ fits: test, found }));
  }

  send(m: Wire): void {
    this.raw(encode(m, this.framing));
  }

  reply(to: Wire, bdy?: unknown, more: Wire = {}): void {
    this.send({ vrb: "reply", rmid: to.mid!, frm: "s1@x:/", bdy, ...more });
  }

  welcome(): void {
    const { name = "n1", nodes, limits } = this.node.options;
    this.send({
      vrb: "welcome", to: this.id + "@client:/", frm: `${name}@node:/`,
      bdy: { id: this.id, node: { id: name, name: "fake" }, limits: { frame: 1 << 20, calls: 1024, ...limits }, nodes },
    });
  }

  took(data: Uint8Array): void {
    const m = decode(data, this.framing);
    const at = this.#wanted.findIndex((w) => w.fits(m));
    if (at >= 0) this.#wanted.splice(at, 1)[0]!.found(m);
    else if (this.node.options.on) this.node.options.on(m, this);
    else this.got.push(m);
  }

  gone(code: number, reason: string): void {
    this.#closed({ code, reason });
  }
}

class SocketConn extends Conn {
  constructor(id: string, node: FakeNode, readonly ws: WebSocket) {
    super(id, ws.protocol.split(".").pop()!, "websocket", node);
    ws.on("message", (data: Buffer) => this.took(data));
    ws.on("close", (code, reason) => this.gone(code, reason.toString()));
    ws.on("error", () => {});
  }

  raw(frame: string | Uint8Array): void { this.ws.send(frame); }
  close(code = 1001, reason = ""): void { this.ws.close(code, reason); }
  kill(): void { this.ws.terminate(); }
}

class HTTPConn extends Conn {
  out: Uint8Array[] = [];
  seq = 0;
  batch = 0;
  last: Uint8Array = new Uint8Array(0);
  stream: ServerResponse | undefined;
  poll: (() => void) | undefined;
  over = false;

  constructor(id: string, node: FakeNode, framing: string) {
    super(id, framing, "http", node);
  }

  raw(frame: string | Uint8Array): void {
    this.out.push(typeof frame === "string" ? Buffer.from(frame) : frame);
    this.flush();
  }

  flush(): void {
    if (this.stream) this.stream.write(this.takeBatch());
    else this.poll?.();
  }

  takeBatch(): Uint8Array {
    return Buffer.concat(this.out.splice(0).flatMap((f) => [Buffer.from(f.length + "\n"), f]));
  }

  close(): void { this.kill(); }

  kill(): void {
    if (this.over) return;
    this.over = true;
    this.stream?.destroy();
    this.poll?.();
    this.gone(1006, "");
  }
}

/** The node. */
export class FakeNode {
  readonly conns: Conn[] = [];
  readonly requests: string[] = [];
  #waiting: ((c: Conn) => void)[] = [];
  #fresh: Conn[] = [];
  readonly #http: Server;
  readonly #wss = new WebSocketServer({
    noServer: true,
    handleProtocols: (offered) => [...offered].find((p) => p.startsWith("ropewalk.v1.")) ?? false,
  });
  /** Refuses every connection. */
  down = false;
  /** The request whose answer is lost on the way, once. */
  lose: string | undefined;
  /** Looks at a request before the node does; true: it was answered here. */
  intercept: ((req: IncomingMessage, res: ServerResponse) => boolean) | undefined;

  constructor(readonly options: FakeOptions) {
    this.#http = createServer((req, res) => void this.#request(req, res));
    this.#http.on("upgrade", (req, socket, head) => {
      this.requests.push("websocket");
      if (this.down) return void socket.destroy();
      if (this.options.websocket === false) {
        socket.destroy();
        return;
      }
      this.#wss.handleUpgrade(req, socket, head, (ws) => this.#join(new SocketConn(this.#id(), this, ws)));
    });
  }

  static async start(options: FakeOptions = {}): Promise<FakeNode> {
    const node = new FakeNode(options);
    await new Promise<void>((up) => node.#http.listen(options.port ?? 0, "127.0.0.1", up));
    return node;
  }

  get port(): number { return (this.#http.address() as AddressInfo).port; }
  get url(): string { return `ws://127.0.0.1:${this.port}/`; }

  /** The next connection that was not waited for yet. */
  conn(): Promise<Conn> {
    const c = this.#fresh.shift();
    return c ? Promise.resolve(c) : new Promise((r) => this.#waiting.push(r));
  }

  async stop(): Promise<void> {
    for (const c of this.conns) c.kill();
    this.#wss.close();
    this.#http.closeAllConnections();
    await new Promise((r) => this.#http.close(r));
  }

  #id(): string { return "c" + (this.conns.length + 1); }

  #join(c: Conn): void {
    this.conns.push(c);
    if (this.options.welcome !== false) c.welcome();
    const w = this.#waiting.shift();
    if (w) w(c);
    else this.#fresh.push(c);
  }

  async #request(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const url = new URL(req.url!, "http://x");
    const what = url.pathname.replace("/ropewalk/v1/", "");
    this.requests.push(what);
    const body: Buffer[] = [];
    for await (const chunk of req) body.push(chunk as Buffer);
    if (this.intercept?.(req, res)) return;
    if (this.down) return void res.destroy();
    if (this.options.http === false) return void res.writeHead(404).end();
    if (what === "open") {
      const c = new HTTPConn(this.#id(), this, url.searchParams.get("framing")!);
      this.#join(c);
      return void res.end(JSON.stringify({ connection: "token-" + c.id, pollSeconds: 25 }));
    }
    const c = this.conns.find((x) => "token-" + x.id === req.headers["ropewalk-connection"]) as HTTPConn | undefined;
    if (!c || c.over) return void res.writeHead(410, { "Content-Type": "application/json" }).end('{"code":"connection_lost","message":"closed"}');
    this.#serve(what, c, req, res, Buffer.concat(body));
  }

  #lost(what: string, res: ServerResponse): boolean {
    if (this.lose !== what) return false;
    this.lose = undefined;
    res.destroy();
    return true;
  }

  #serve(what: string, c: HTTPConn, req: IncomingMessage, res: ServerResponse, body: Buffer): void {
    switch (what) {
      case "send": {
        const seq = Number(req.headers["ropewalk-seq"]);
        if (seq > c.seq + 1) return void res.writeHead(409).end();
        if (seq === c.seq + 1) {
          c.seq++;
          for (const f of frames(body)) c.took(f);
        }
        return this.#lost("send", res) ? undefined : void res.writeHead(204).end();
      }
      case "stream":
        if (this.options.stream === false) return;
        c.stream = res;
        res.on("close", () => c.kill());
        return void res.write(c.takeBatch());
      case "poll": {
        if (Number(req.headers["ropewalk-ack"]) < c.batch) return void res.setHeader("Ropewalk-Batch", c.batch).end(c.last);
        const answer = (): void => {
          c.poll = undefined;
          c.last = c.takeBatch();
          res.setHeader("Ropewalk-Batch", ++c.batch);
          if (!this.#lost("poll", res)) res.end(c.last);
        };
        if (c.out.length) answer();
        else c.poll = answer;
        return;
      }
      case "close":
        res.writeHead(204).end();
        c.kill();
    }
  }
}

function* frames(batch: Buffer): Iterable<Buffer> {
  for (let at = 0; at < batch.length;) {
    const end = batch.indexOf(10, at);
    const n = Number(batch.subarray(at, end).toString());
    yield batch.subarray(end + 1, end + 1 + n);
    at = end + 1 + n;
  }
}

function encode(m: Wire, framing: string): string | Buffer {
  if (framing === "json") return JSON.stringify(m);
  const { bdy, ...head } = m;
  const first = Buffer.from(JSON.stringify(head));
  if (bdy === undefined) return first;
  return Buffer.concat([first, Buffer.from("\n"), bdy instanceof Uint8Array ? bdy : Buffer.from(JSON.stringify(bdy))]);
}

function decode(frame: Uint8Array, framing: string): Wire {
  const data = Buffer.from(frame);
  if (framing === "json") return JSON.parse(data.toString()) as Wire;
  const end = data.indexOf(10);
  if (end < 0) return JSON.parse(data.toString()) as Wire;
  const head = JSON.parse(data.subarray(0, end).toString()) as Wire;
  const body = data.subarray(end + 1);
  return { ...head, bdy: head.cty ? new Uint8Array(body) : JSON.parse(body.toString()) };
}
