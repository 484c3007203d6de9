import { text } from "./message.js";

// What changes make a content of, without a change to the content that there was: what is the same stays the same
// object. No name is looked up on a prototype, and "__proto__" is a name as any other.

type Tree = Record<string, unknown>;

/** The kinds of changes that the client understands, as the wire calls them. */
export const deltas = ["merge", "patch", "rows"] as const;

const kinds: Record<string, (content: unknown, change: never) => unknown> = {
  "application/merge-patch+json": merge,
  "application/json-patch+json": patch,
  "application/vnd.ropewalk.rows+json": changeRows,
};

/** Says whether a content type is that of a change. */
export function isChange(contentType: string | undefined): boolean {
  return contentType !== undefined && Object.hasOwn(kinds, contentType);
}

/** Applies a change. It throws if that does not fit the content. */
export function apply(contentType: string, content: unknown, change: Uint8Array): unknown {
  return kinds[contentType]!(content, JSON.parse(text(change)) as never);
}

/** Whether two JSON values are the same. */
export function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (!isTree(a) && !Array.isArray(a)) return false;
  if (typeof b !== "object" || b === null || Array.isArray(a) !== Array.isArray(b)) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length &&
    keys.every((k) => Object.hasOwn(b, k) && same((a as Tree)[k], (b as Tree)[k]));
}

function isTree(v: unknown): v is Tree {
  return typeof v === "object" && v !== null && !Array.isArray(v) && !(v instanceof Uint8Array);
}

// Nobody is told of it: the content is asked for as a whole then.
function misfit(): never {
  throw new TypeError("the change does not fit the content");
}

/** JSON Merge Patch, RFC 7396. */
function merge(content: unknown, change: unknown): unknown {
  if (!isTree(change)) return change;
  const out = new Map(isTree(content) ? Object.entries(content) : []);
  for (const [k, v] of Object.entries(change)) {
    if (v === null) out.delete(k);
    else out.set(k, merge(out.get(k), v));
  }
  return Object.fromEntries(out);
}

interface Operation {
  op: string;
  path: string;
  from?: string;
  value?: unknown;
}

/** JSON Patch, RFC 6902. */
function patch(content: unknown, operations: readonly Operation[]): unknown {
  let now = content;
  for (const { op, path, from, value } of operations) {
    const at = steps(path);
    switch (op) {
      case "add":
      case "replace":
        now = edit(now, at, op, value);
        break;
      case "remove":
        now = edit(now, at, op);
        break;
      case "copy":
      case "move": {
        const source = steps(from ?? "-");
        const moved = read(now, source);
        if (op === "move") now = edit(now, source, "remove");
        now = edit(now, at, "add", moved);
        break;
      }
      case "test":
        if (!same(read(now, at), value)) misfit();
        break;
      default:
        misfit();
    }
  }
  return now;
}

function steps(pointer: string): string[] {
  if (pointer && !pointer.startsWith("/")) misfit();
  return pointer.split("/").slice(1).map((s) => s.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function read(content: unknown, at: readonly string[]): unknown {
  let v = content;
  for (const step of at) {
    if (Array.isArray(v)) v = v[index(step, v.length - 1)];
    else if (isTree(v) && Object.hasOwn(v, step)) v = v[step];
    else misfit();
  }
  return v;
}

function index(step: string, last: number): number {
  if (!/^(0|[1-9]\d*)$/.test(step) || Number(step) > last) misfit();
  return Number(step);
}

function edit(v: unknown, [step, ...rest]: readonly string[], op: string, value?: unknown): unknown {
  if (step === undefined) return value;
  const leaf = !rest.length;
  if (Array.isArray(v)) {
    const adds = leaf && op === "add";
    const i = adds && step === "-" ? v.length : index(step, adds ? v.length : v.length - 1);
    if (!leaf) return v.with(i, edit(v[i], rest, op, value));
    return v.toSpliced(i, adds ? 0 : 1, ...(op === "remove" ? [] : [value]));
  }
  if (!isTree(v)) misfit();
  if (!(leaf && op === "add") && !Object.hasOwn(v, step)) misfit();
  const out = new Map(Object.entries(v));
  if (leaf && op === "remove") out.delete(step);
  else out.set(step, edit(out.get(step), rest, op, value));
  return Object.fromEntries(out);
}

interface RowsChange {
  key: string;
  remove?: readonly unknown[];
  set?: readonly Tree[];
  order?: readonly unknown[];
  from?: number;
}

/** A change of rows, docs/reference/content.md. The key of a row is a text or a number. */
function changeRows(content: unknown, { key, remove = [], set = [], order = [], from = 0 }: RowsChange): unknown {
  if (!Array.isArray(content)) misfit();
  const rows = new Map(content.map((row: Tree) => [row[key], row]));
  const take = (k: unknown): Tree => {
    const row = rows.get(k) ?? misfit();
    rows.delete(k);
    return row;
  };
  remove.forEach(take);
  for (const row of set) rows.set(row[key], row);
  const block = order.map(take);
  if (from > rows.size) misfit();
  return [...rows.values()].toSpliced(from, 0, ...block);
}
