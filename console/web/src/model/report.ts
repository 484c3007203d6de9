import type { RopewalkError } from "@ropewalk/client";

/** A part of report:/long. */
export interface Progress {
  step: number;
  of: number;
  percent: number;
  note: string;
}

/** The reply of report:/long. */
export interface Summary {
  title: string;
  steps: number;
  seconds: number;
}

/**
 * A run of the long report:
 *
 *     idle ──► running ──► done | canceled | failed
 *                 ▲                  │
 *                 └──────────────────┘
 */
export interface Run {
  phase: "idle" | "running" | "done" | "canceled" | "failed";
  /** Who runs it; "" if that is not known yet. */
  server: string;
  progress: Progress | undefined;
  /** The notes so far, each once. */
  notes: readonly string[];
  summary: Summary | undefined;
  error: RopewalkError | undefined;
}

export const idle: Run = { phase: "idle", server: "", progress: undefined, notes: [], summary: undefined, error: undefined };

/** A run that begins. */
export function begin(server: string): Run {
  return { ...idle, phase: "running", server };
}

/** A part came. What comes late, after the end, changes nothing. */
export function advance(run: Run, p: Progress, server: string): Run {
  if (run.phase !== "running") return run;
  const notes = run.notes.at(-1) === p.note ? run.notes : [...run.notes, p.note];
  return { ...run, progress: p, notes, server: server || run.server };
}

/** The reply came. */
export function finish(run: Run, summary: Summary): Run {
  return { ...run, phase: "done", summary };
}

/** It ended without a reply. */
export function stop(run: Run, error: RopewalkError): Run {
  return { ...run, phase: error.code === "canceled" ? "canceled" : "failed", error };
}

/** How far it is, from 0 to 100. */
export const percent = (run: Run): number => (run.phase === "done" ? 100 : run.progress?.percent ?? 0);
