import type { Answer, Asked } from "@ropewalk/client";
import type { Server } from "./roster";

/** One field of the table: what one server said for one path. */
export interface Cell {
  kind: "answer" | "error" | "missing" | "waiting" | "none";
  text: string;
  /** What to show to those who point at it. */
  more: string;
  /** Milliseconds. */
  took: number;
}

/** What is known of a gather. */
export interface Outcome {
  answers: readonly Answer[];
  missing: readonly Asked[];
  running: boolean;
}

const none: Cell = { kind: "none", text: "", more: "", took: 0 };

/** The columns of the table: those who are or were just there, and those who answered. */
export function columns(servers: readonly Server[], o: Outcome): string[] {
  return [...new Set([...servers.map((s) => s.id), ...o.answers.map((a) => a.server), ...o.missing.map((m) => m.server)])];
}

/** The rows of the table: paths in order of the alphabet. */
export function rows(paths: readonly string[], o: Outcome): string[] {
  return [...new Set([...paths, ...o.answers.map((a) => a.path), ...o.missing.map((m) => m.path)])].sort();
}

/** What to show in a field. */
export function cell(o: Outcome, path: string, server: string, text: (body: unknown) => string): Cell {
  const a = o.answers.find((x) => x.path === path && x.server === server);
  if (a?.error) return { kind: "error", text: a.error.code, more: [a.error.message, a.error.hint].filter(Boolean).join(" "), took: a.took };
  if (a) return { kind: "answer", text: text(a.body), more: "", took: a.took };
  if (o.missing.some((x) => x.path === path && x.server === server)) {
    return { kind: "missing", text: "no answer", more: "It had not answered when the gather ended.", took: 0 };
  }
  return o.running ? { ...none, kind: "waiting" } : none;
}

/** A sentence about how a gather went. */
export function summary(o: Outcome): string {
  const good = o.answers.filter((a) => !a.error).length;
  const bad = o.answers.length - good;
  const out = [`${good} ${good === 1 ? "answer" : "answers"}`];
  if (bad) out.push(`${bad} ${bad === 1 ? "error" : "errors"}`);
  if (o.missing.length) out.push(`${o.missing.length} missing`);
  return out.join(", ");
}
