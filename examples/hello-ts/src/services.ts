import { setTimeout as sleep } from "node:timers/promises";
import { RopewalkError, type Context, type Rope, type Service } from "@ropewalk/client";

const version = "1.0.0";

/** The time between two parts of report:/long: slow enough to be watched, and to be canceled on the way. */
export const pace = 150;

interface Pair {
  a: number;
  b: number;
}

interface Order {
  title?: string;
  steps?: number;
}

interface Progress {
  step: number;
  of: number;
  percent: number;
  note: string;
}

interface Summary {
  title: string;
  steps: number;
  seconds: number;
}

const number = { type: "number" };
const pair = { type: "object", required: ["a", "b"], properties: { a: number, b: number } };

/** Offers all three services; each step of the report takes `pace` milliseconds. */
export function serve(rope: Rope, ms = pace): Service[] {
  return [
    rope.serve("math", {
      "/decimal/mul": { handler: calc((a, b) => a * b), description: "a times b", in: pair, out: number },
      "/decimal/add": { handler: calc((a, b) => a + b), description: "a plus b", in: pair, out: number },
      "/decimal/sub": { handler: calc((a, b) => a - b), description: "a minus b", in: pair, out: number },
      "/decimal/div": { handler: calc((a, b) => a / b), description: "a divided by b", in: pair, out: number },
    }, { version }),
    rope.serve("text", { "/up": up }, { version, description: "a text in capitals" }),
    rope.serve("report", { "/long": (order: Order | undefined, ctx: Context) => long(order ?? {}, ctx.signal, ms) },
      { version, description: "a report that takes its time and sends its progress" }),
  ];
}

/** Answers with the result of f, unless there is none that JSON can hold: x/0, and numbers over 1.8e308. */
function calc(f: (a: number, b: number) => number): (input: Pair) => number {
  return (input) => {
    for (const field of ["a", "b"] as const) {
      if (typeof input?.[field] !== "number") throw invalid(`${field} must be a number`, `/${field}`, 'Send {"a": 2, "b": 5}.');
    }
    const result = f(input.a, input.b);
    if (Number.isFinite(result)) return result;
    throw invalid(`there is no such number for ${input.a} and ${input.b}`, "", "Take smaller numbers, and none that are 0 to divide by.");
  };
}

function up(text: string): string {
  if (typeof text !== "string") throw invalid("the body must be a text", "", 'Send "hello".');
  return text.toUpperCase();
}

const notes = ["Reading the books", "Adding up", "Looking for gaps", "Drawing the charts", "Binding the pages"];

/** What is yielded is sent as a part, what is returned as the reply. The signal aborts when the caller cancels. */
async function* long(order: Order, signal: AbortSignal, ms: number): AsyncGenerator<Progress, Summary, void> {
  const { title = "The long report" } = order;
  const of = order.steps || 20;
  if (!Number.isInteger(of) || of < 0 || of > 1000) throw invalid("steps must be a whole number from 0 to 1000", "/steps", "");
  const began = performance.now();
  for (let step = 1; step <= of; step++) {
    await sleep(ms, undefined, { signal });
    yield { step, of, percent: Math.floor((100 * step) / of), note: notes[Math.floor(((step - 1) * notes.length) / of)]! };
  }
  return { title, steps: of, seconds: (performance.now() - began) / 1000 };
}

function invalid(message: string, path: string, hint: string): RopewalkError {
  return new RopewalkError("invalid_input", message, { path, hint });
}
