import { encoder, joined } from "./message.js";

/** Frames of a batch, each preceded by its length in decimal and a line feed. */
export function encodeBatch(frames: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return joined(frames.flatMap((f) => [encoder.encode(f.length + "\n"), f]));
}

// A length of more digits than this is no length.
const maxDigits = 10;

/** Takes a batch apart as its bytes arrive. */
export class BatchReader {
  #rest: Uint8Array = new Uint8Array(0);

  /** Returns the frames that are complete with these bytes; empty ones, which only keep alive, too. */
  push(chunk: Uint8Array): Uint8Array[] {
    let buf = this.#rest.length ? joined([this.#rest, chunk]) : chunk;
    const frames: Uint8Array[] = [];
    for (;;) {
      const end = buf.subarray(0, maxDigits + 1).indexOf(10);
      if (end < 0) {
        if (buf.length > maxDigits) throw new SyntaxError("a batch without a length");
        break;
      }
      const digits = String.fromCharCode(...buf.subarray(0, end));
      if (!/^\d+$/.test(digits)) throw new SyntaxError("a batch with a bad length");
      const stop = end + 1 + Number(digits);
      if (buf.length < stop) break;
      frames.push(buf.subarray(end + 1, stop));
      buf = buf.subarray(stop);
    }
    this.#rest = buf;
    return frames;
  }
}
