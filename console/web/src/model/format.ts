/** A time in milliseconds, with as many digits as a person can use. */
export function duration(ms: number): string {
  if (!Number.isFinite(ms) || ms < 0) return "–";
  if (ms < 1) return `${Math.max(1, Math.round(ms * 1000))} µs`;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const minutes = Math.round(ms / 60_000);
  if (minutes < 60) return `${minutes} min`;
  return minutes < 48 * 60 ? `${Math.round(minutes / 60)} h` : `${Math.round(minutes / 60 / 24)} days`;
}

/** A number of bytes. */
export function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1_000_000) return `${(bytes / 1000).toFixed(1)} kB`;
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}

/** The time of day to the second. */
export function clock(at: Date): string {
  const two = (n: number): string => String(n).padStart(2, "0");
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** A value as a person reads it: a text as it is, anything else as JSON. */
export function plain(value: unknown): string {
  if (value === undefined) return "no body";
  if (typeof value === "string") return value;
  return JSON.stringify(value) ?? String(value);
}

/** A value as JSON over several lines, where one line would be long. */
export function pretty(value: unknown): string {
  if (value === undefined) return "no body";
  const line = JSON.stringify(value) ?? String(value);
  return line.length <= 48 ? line : JSON.stringify(value, null, 2);
}

/** A number, or "1 server", "2 servers". */
export function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}

/** The middle of some numbers; 0 of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}
