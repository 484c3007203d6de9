import { useRef, useState } from "preact/hooks";
import type { Known } from "../model/address";
import { example, parseBody } from "../model/example";
import { count, pretty } from "../model/format";
import type { SchemaInfo } from "../model/wire";
import { ask, type Result } from "../state/exchange";
import { rope } from "../state/rope";
import { addresses } from "../state/world";
import { Combobox } from "../ui/combobox";
import { Problem } from "../ui/problem";
import { Waiting } from "../ui/waiting";
import { Origin } from "./call";
import { Tree } from "./tree";

/** A call of any address with any body. */
export function AnyCall() {
  const [address, setAddress] = useState("math:/decimal/div");
  const [body, setBody] = useState('{ "a": 1, "b": 0 }');
  const [result, setResult] = useState<Result | "waiting">();
  const running = useRef<AbortController>(undefined);
  const parsed = parseBody(body);

  const submit = (e?: Event): void => {
    e?.preventDefault();
    if (!parsed.ok || !address.trim() || result === "waiting") return;
    const abort = new AbortController();
    running.current = abort;
    setResult("waiting");
    void ask(address.trim(), parsed.body, abort.signal).then(setResult);
  };
  const pick = (k: Known): void => {
    setAddress(k.address);
    void suggestion(k.address).then((text) => text !== undefined && setBody(text));
  };
  return (
    <>
      <form class="example any" id="any" onSubmit={submit} aria-label="Any address">
        <p class="address">Any address</p>
        <Combobox id="any-address" label="Address" value={address} all={addresses.value} onInput={setAddress} onPick={pick} />
        <textarea
          id="any-body" class="mono" rows={3} spellcheck={false} aria-label="Body, as JSON" placeholder="Body, as JSON; empty for none"
          value={body} onInput={(e) => setBody(e.currentTarget.value)} aria-invalid={!parsed.ok} aria-describedby="any-problem"
          onKeyDown={(e) => {
            if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) submit(e);
          }}
        />
        <div class="line between">
          <span id="any-problem" class={parsed.ok ? "note" : "note bad"}>{parsed.ok ? "Ctrl + Enter calls" : parsed.problem}</span>
          {/* With keys they are two elements: one that turned into the other would submit the form by the same click. */}
          {result === "waiting"
            ? <button key="cancel" type="button" onClick={() => running.current?.abort()}>Cancel</button>
            : <button key="call" type="submit" class="primary" disabled={!parsed.ok || !address.trim()}>Call</button>}
        </div>
        <div class="result tall" aria-live="polite">
          {result === "waiting" ? <Waiting /> : result ? <Full result={result} />
            : <span class="empty">The answer appears here. An error comes with its code and a hint: this one divides by 0.</span>}
        </div>
      </form>
      <Tree onPick={pick} />
    </>
  );
}

function Full({ result }: { result: Result }) {
  if (result.kind === "error") return <Problem error={result.error} />;
  return (
    <>
      <span class="origin"><Origin result={result} />{result.parts > 0 && `, after ${count(result.parts, "part")}`}</span>
      <pre class="json" tabIndex={0} aria-label="The answer">{pretty(result.body)}</pre>
    </>
  );
}

/** A body that fits the address, if the node knows a schema. */
async function suggestion(address: string): Promise<string | undefined> {
  try {
    const schema = await rope.call<SchemaInfo>(`node:/schema?route=${address}`, undefined, { online: true, timeout: 3_000 });
    const value = example(schema.in);
    return value === undefined ? "" : pretty(value);
  } catch { // then there is no suggestion
    return undefined;
  }
}
