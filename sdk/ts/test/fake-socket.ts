import { vi } from "vitest";

export interface Sent {
  vrb: string;
  to?: string;
  mid?: string;
  rmid?: string;
  tmo?: number;
  bdy?: unknown;
}

/** A socket for tests with a clock of their own; the test is the node. */
export class Socket {
  static all: Socket[] = [];
  static get last(): Socket {
    return Socket.all.at(-1)!;
  }

  binaryType = "";
  readyState = 1;
  bufferedAmount = 0;
  onmessage: ((e: { data: unknown }) => void) | null = null;
  onclose: ((e: { code: number; reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  readonly sent: Sent[] = [];
  readonly at = Date.now();
  closed: number | undefined;

  constructor(readonly url: string, readonly protocols: string[]) {
    Socket.all.push(this);
  }

  send(data: Uint8Array): void {
    const [head, body] = new TextDecoder().decode(data).split("\n");
    this.sent.push({ ...JSON.parse(head!) as Sent, ...(body === undefined ? {} : { bdy: JSON.parse(body) as unknown }) });
  }

  close(code?: number): void {
    this.closed = code ?? 1005;
  }

  get(m: object, body?: unknown): void {
    this.onmessage?.({ data: JSON.stringify(m) + (body === undefined ? "" : "\n" + JSON.stringify(body)) });
  }

  async welcome(id = "c" + Socket.all.length): Promise<void> {
    const name = new URL(this.url).hostname;
    this.get({ vrb: "welcome" }, { id, node: { id: name, name } });
    await vi.advanceTimersByTimeAsync(0);
  }

  async drop(code = 1006): Promise<void> {
    this.onclose?.({ code, reason: "" });
    await vi.advanceTimersByTimeAsync(0);
  }
}
