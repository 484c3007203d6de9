import { RopewalkError } from "@ropewalk/client";
import { idOf } from "../model/address";
import { rope } from "./rope";
import { aimedAt } from "./world";

/** How a call went. */
export type Result =
  | { kind: "answer"; body: unknown; server: string; took: number; parts: number }
  | { kind: "error"; error: RopewalkError; took: number };

/** Calls an address, on the node that was chosen, and says who answered and how long it took. It never rejects. */
export async function ask(address: string, body: unknown, signal?: AbortSignal): Promise<Result> {
  const began = performance.now();
  const took = (): number => performance.now() - began;
  try {
    const stream = rope.stream(aimedAt(address), body, { signal, buffer: 10_000 });
    let parts = 0;
    for await (const _ of stream) parts++;
    return { kind: "answer", body: await stream.reply, server: idOf(stream.from), took: took(), parts };
  } catch (err) {
    return { kind: "error", error: errorOf(err), took: took() };
  }
}

/** Makes an error with a code of anything. */
export function errorOf(err: unknown): RopewalkError {
  if (err instanceof RopewalkError) return err;
  return new RopewalkError("internal", err instanceof Error ? err.message : String(err), { cause: err });
}
