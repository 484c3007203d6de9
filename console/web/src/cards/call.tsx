import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { duration, plain } from "../model/format";
import { reachable, title } from "../model/nodes";
import { ask, type Result } from "../state/exchange";
import { aim, many, nodes, target } from "../state/world";
import { Card } from "../ui/card";
import { Problem } from "../ui/problem";
import { Waiting } from "../ui/waiting";
import { On, Who } from "../ui/who";
import { AnyCall } from "./anycall";

/** Calls that one server answers. */
export function CallCard() {
  return (
    <Card id="call" title="Call" about="One server of an address answers." side={many.value && <Target />} grows>
      <Multiply />
      <Upper />
      <AnyCall />
    </Card>
  );
}

/** Chooses the node whose servers are called. */
function Target() {
  return (
    <select id="call-node" class="small" aria-label="Node whose servers are called" value={aim.value?.id ?? ""} onChange={(e) => (target.value = e.currentTarget.value)}>
      <option value="">any node</option>
      {reachable(nodes.value).map((n) => <option key={n.id} value={n.id}>on {title(nodes.value, n)}</option>)}
    </select>
  );
}

function Multiply() {
  const [a, setA] = useState("6");
  const [b, setB] = useState("7");
  const body = { a: Number(a), b: Number(b) };
  return (
    <Example id="mul" address="math:/decimal/mul" body={body} ready={a !== "" && b !== ""}>
      <input id="mul-a" class="number" type="number" step="any" aria-label="First number" value={a} onInput={(e) => setA(e.currentTarget.value)} />
      <span aria-hidden="true" class="sign">×</span>
      <input id="mul-b" class="number" type="number" step="any" aria-label="Second number" value={b} onInput={(e) => setB(e.currentTarget.value)} />
    </Example>
  );
}

function Upper() {
  const [text, setText] = useState("many strands, one rope");
  return (
    <Example id="up" address="text:/up" body={text} ready>
      <input id="up-text" type="text" aria-label="Text" value={text} onInput={(e) => setText(e.currentTarget.value)} />
    </Example>
  );
}

interface ExampleProps {
  id: string;
  address: string;
  body: unknown;
  /** The input is complete. */
  ready: boolean;
  children: ComponentChildren;
}

/** One path to try: its address, its input, a button, and the answer. */
function Example({ id, address, body, ready, children }: ExampleProps) {
  const [result, setResult] = useState<Result | "waiting">();
  const submit = (e: Event): void => {
    e.preventDefault();
    if (!ready || result === "waiting") return;
    setResult("waiting");
    void ask(address, body).then(setResult);
  };
  return (
    <form class="example" id={id} onSubmit={submit} aria-label={address}>
      <p class="address mono">{address}</p>
      <div class="line">
        {children}
        <button type="submit" class="primary" disabled={!ready} aria-disabled={result === "waiting"}>Call</button>
      </div>
      <div class="result" aria-live="polite">
        {result === "waiting" ? <Waiting /> : result ? <Answer result={result} /> : <span class="empty">No answer yet.</span>}
      </div>
    </form>
  );
}

function Answer({ result }: { result: Result }) {
  if (result.kind === "error") return <Problem error={result.error} />;
  return (
    <>
      <output class="value">{plain(result.body)}</output>
      <Origin result={result} />
    </>
  );
}

/** Who answered, and how fast. */
export function Origin({ result }: { result: Extract<Result, { kind: "answer" }> }) {
  return (
    <span class="origin">
      {result.server && <>from <Who id={result.server} /> <On id={result.server} /> </>}in {duration(result.took)}
    </span>
  );
}
