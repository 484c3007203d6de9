import type { RopewalkError } from "@ropewalk/client";
import { useState } from "preact/hooks";
import { cell, columns, rows, summary, type Outcome } from "../model/gather";
import { count, duration, plain } from "../model/format";
import { present, standing, type Server as ServerInfo } from "../model/roster";
import { errorOf } from "../state/exchange";
import { rope } from "../state/rope";
import { mathPaths, mathServers, now, services } from "../state/world";
import { Card } from "../ui/card";
import { Problem } from "../ui/problem";
import { On, Who } from "../ui/who";
import { Commands } from "./commands";

const address = "math:/decimal/*";
const none: Outcome = { answers: [], missing: [], running: false };

/** A call that every server answers. */
export function GatherCard() {
  const [a, setA] = useState("8");
  const [b, setB] = useState("2");
  const [outcome, setOutcome] = useState<Outcome>(none);
  const [took, setTook] = useState(0);
  const [error, setError] = useState<RopewalkError>();

  const run = async (e: Event): Promise<void> => {
    e.preventDefault();
    if (outcome.running || a === "" || b === "") return;
    const began = performance.now();
    setError(undefined);
    setOutcome({ ...none, running: true });
    try {
      const result = await rope.gather(address, { a: Number(a), b: Number(b) }, {
        timeout: 10_000,
        onAnswer: (one) => setOutcome((o) => (o.running ? { ...o, answers: [...o.answers, one] } : o)),
      });
      setOutcome({ answers: result.answers, missing: result.missing, running: false });
    } catch (err) {
      setOutcome((o) => ({ ...o, running: false }));
      setError(errorOf(err));
    }
    setTook(performance.now() - began);
  };
  const servers = mathServers.value;
  return (
    <Card
      id="gather" title="Gather" about="Every server of every matching path answers."
      side={<span class="count" id="servers-count">{count(present(servers).length, "server")}</span>}
    >
      <form class="line" onSubmit={(e) => void run(e)} aria-label={address}>
        <span class="address mono">{address}</span>
        <input id="gather-a" class="number" type="number" step="any" aria-label="First number" value={a} onInput={(e) => setA(e.currentTarget.value)} />
        <input id="gather-b" class="number" type="number" step="any" aria-label="Second number" value={b} onInput={(e) => setB(e.currentTarget.value)} />
        <button type="submit" class="primary" aria-disabled={outcome.running}>Ask all</button>
      </form>
      <Table outcome={outcome} servers={servers} />
      <p class="result slim" aria-live="polite" id="gather-summary">
        {outcome.running ? "Asking …" : outcome.answers.length ? `${summary(outcome)} in ${duration(took)}` : "Not asked yet."}
      </p>
      {error && <Problem error={error} />}
      <Commands />
    </Card>
  );
}

function Table({ outcome, servers }: { outcome: Outcome; servers: readonly ServerInfo[] }) {
  const ids = columns(servers, outcome);
  const paths = rows(mathPaths.value, outcome);
  if (!services.value) return <p class="empty block">Looking who serves {address} …</p>;
  if (!ids.length || !paths.length) return <p class="empty block">Nobody serves {address} at the moment. Start a server with the command below.</p>;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Answers by path and server">
      <table class="matrix">
        <thead>
          <tr>
            <td />
            {ids.map((id) => <Column key={id} server={servers.find((s) => s.id === id)} id={id} />)}
          </tr>
        </thead>
        <tbody>
          {paths.map((path) => (
            <tr key={path}>
              <th scope="row" class="mono">{path}</th>
              {ids.map((id) => <Field key={id} outcome={outcome} path={path} id={id} />)}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Column({ server, id }: { server: ServerInfo | undefined; id: string }) {
  const how = server ? standing(server, now.value) : "left";
  return (
    <th scope="col" data-server={id} data-standing={how}>
      <Who id={id} />
      <On id={id} />
      <span class="standing">{how === "joined" ? "joined" : how === "left" ? "left" : ""}</span>
    </th>
  );
}

function Field({ outcome, path, id }: { outcome: Outcome; path: string; id: string }) {
  const c = cell(outcome, path, id, plain);
  return (
    <td data-kind={c.kind} title={c.more || undefined}>
      {c.kind === "error" ? <code class="code">{c.text}</code> : <span class="text">{c.text || (c.kind === "none" ? "·" : "")}</span>}
      {c.took > 0 && <span class="took">{duration(c.took)}</span>}
    </td>
  );
}
