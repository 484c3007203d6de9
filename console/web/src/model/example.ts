import type { Schema } from "./wire";

// A schema that refers to itself would never end.
const deepest = 5;

/** A value that fits a schema more or less: something to begin with. undefined if there is no body. */
export function example(schema: Schema | undefined, depth = 0, root = schema): unknown {
  if (!schema || depth > deepest) return undefined;
  if (schema.$ref) return example(root?.$defs?.[schema.$ref.replace("#/$defs/", "")], depth + 1, root);
  for (const value of [schema.const, schema.default, schema.examples?.[0], schema.enum?.[0]]) {
    if (value !== undefined) return value;
  }
  const one = schema.anyOf?.[0] ?? schema.oneOf?.[0];
  if (one) return example(one, depth + 1, root);
  switch (typeof schema.type === "object" ? schema.type.find((t) => t !== "null") : schema.type) {
    case "object":
      return object(schema, depth, root);
    case "array": {
      const item = example(schema.items, depth + 1, root);
      return item === undefined ? [] : [item];
    }
    case "string":
      return "text";
    case "integer":
    case "number":
      return Math.max(schema.minimum ?? 1, 1);
    case "boolean":
      return true;
    case "null":
      return null;
    default:
      return schema.properties ? object(schema, depth, root) : undefined;
  }
}

function object(schema: Schema, depth: number, root: Schema | undefined): Record<string, unknown> | undefined {
  const out: Record<string, unknown> = {};
  for (const [name, inner] of Object.entries(schema.properties ?? {})) {
    const value = example(inner, depth + 1, root);
    if (value !== undefined) out[name] = value;
  }
  return depth || Object.keys(out).length ? out : undefined;
}

/** A body as somebody typed it: JSON, or nothing for no body. */
export type Parsed = { ok: true; body: unknown } | { ok: false; problem: string };

/** Reads a body; what is wrong is said with its place. */
export function parseBody(text: string): Parsed {
  if (!text.trim()) return { ok: true, body: undefined };
  try {
    return { ok: true, body: JSON.parse(text) as unknown };
  } catch (err) {
    const said = (err as Error).message.replace(/^JSON\.parse: /, "").replace(/ \(line \d+ column \d+\)$/, "");
    return { ok: false, problem: `This is not JSON: ${said}.${/^[\w ]+$/.test(text.trim()) ? " A text needs quotation marks." : ""}` };
  }
}
