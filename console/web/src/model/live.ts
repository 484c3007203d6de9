/** Two teams and their goals. */
export interface Score {
  home: string;
  away: string;
  goals: readonly [home: number, away: number];
}

/** Reads "Home 1 : Away 0"; undefined for anything else. */
export function readScore(content: unknown): Score | undefined {
  const m = typeof content === "string" ? /^\s*(\S.*?)\s+(\d{1,3})\s*:\s*(\S.*?)\s+(\d{1,3})\s*$/.exec(content) : null;
  return m ? { home: m[1]!, away: m[3]!, goals: [Number(m[2]), Number(m[4])] } : undefined;
}

/** The opposite. */
export function writeScore({ home, away, goals }: Score): string {
  return `${home} ${goals[0]} : ${away} ${goals[1]}`;
}

/** The score after one more goal of one team. */
export function scored(s: Score, team: 0 | 1): Score {
  return { ...s, goals: team ? [s.goals[0], s.goals[1] + 1] : [s.goals[0] + 1, s.goals[1]] };
}

/** A row of the live table. */
export interface Departure {
  id: number;
  flight: string;
  destination: string;
  gate: string;
  planned: string;
  delay: number;
  status: string;
}

/** What a flight can be. */
export const statuses = ["on time", "boarding", "delayed", "cancelled"] as const;

/** The time when a flight leaves, with its delay: "07:15" and 12 are "07:27". */
export function leaves({ planned, delay }: Pick<Departure, "planned" | "delay">): string {
  const m = /^(\d\d):(\d\d)$/.exec(planned);
  if (!m) return planned;
  const at = (Number(m[1]) * 60 + Number(m[2]) + delay) % 1440;
  return [at / 60, at % 60].map((n) => String(Math.floor(n)).padStart(2, "0")).join(":");
}

/** What the script of the chart gives. */
export interface Chart {
  title: string;
  labels: readonly string[];
  series: readonly { name: string; values: readonly (number | null)[] }[];
}

/** Reads what a script gave; a text says what is wrong with it. */
export function readChart(content: unknown): Chart | string {
  const c = (typeof content === "object" && content !== null ? content : {}) as Partial<Chart>;
  if (!Array.isArray(c.labels)) return "it has no list `labels`";
  if (!Array.isArray(c.series) || !c.series.length) return "it has no list `series`";
  const series = (c.series as unknown[]).map((s) => s as { name?: unknown; values?: unknown } | null);
  const bad = series.findIndex((s) => !Array.isArray(s?.values));
  if (bad >= 0) return `series ${bad + 1} has no list \`values\``;
  return {
    title: typeof c.title === "string" ? c.title : "",
    labels: c.labels.map(String),
    series: series.map((s, i) => ({
      name: typeof s?.name === "string" ? s.name : `Series ${i + 1}`,
      values: (s!.values as unknown[]).map((v) => (typeof v === "number" && Number.isFinite(v) ? v : null)),
    })),
  };
}

/** What of a content is another than before, in a line: an element of a list, members of an object, or else all of it. */
export function difference(before: unknown, after: unknown): string {
  if (Array.isArray(before) && Array.isArray(after)) {
    const known = new Set(before.map(json));
    const added = after.filter((v) => !known.has(json(v)));
    const more = after.length - before.length;
    if (more) return [more > 0 ? `+${more}` : `−${-more}`, ...added.map(json)].join(" ");
    const i = after.indexOf(added[0]);
    return added.length === 1 ? `[${i}] ${difference(before[i], after[i])}` : json(after);
  }
  if (isObject(before) && isObject(after)) {
    return json(Object.fromEntries(Object.entries(after).filter(([k, v]) => json(v) !== json(before[k]))));
  }
  return json(after);
}

/** Whether two contents are the same, JSON or bytes. */
export function same(a: unknown, b: unknown): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return a.length === b.length && a.every((v, i) => v === b[i]);
  return a === b || json(a) === json(b);
}

function json(v: unknown): string {
  return JSON.stringify(v) ?? "";
}

function isObject(v: unknown): v is Record<string, unknown> {
  return typeof v === "object" && v !== null && !Array.isArray(v);
}

/** The line that an error is about, counted from 1; undefined if it does not say. */
export function lineOf(details: unknown): number | undefined {
  const line = (details as { line?: unknown } | null | undefined)?.line;
  return typeof line === "number" && line > 0 ? line : undefined;
}
