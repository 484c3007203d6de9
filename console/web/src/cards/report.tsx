import { useRef, useState } from "preact/hooks";
import { idOf } from "../model/address";
import { count } from "../model/format";
import { advance, begin, finish, idle, percent, stop, type Progress, type Run, type Summary } from "../model/report";
import { present } from "../model/roster";
import { errorOf } from "../state/exchange";
import { rope } from "../state/rope";
import { placeOf, reportServers } from "../state/world";
import { Card } from "../ui/card";
import { Problem } from "../ui/problem";
import { Waiting } from "../ui/waiting";
import { nameOf, On, Who } from "../ui/who";

const address = "report:/long";

/** A call that takes its time, says how far it is, and can be taken back. */
export function ReportCard() {
  const [run, setRun] = useState<Run>(idle);
  const [server, setServer] = useState("");
  const [steps, setSteps] = useState("30");
  const running = useRef<AbortController>(undefined);
  const servers = present(reportServers.value);
  const chosen = servers.some((s) => s.id === server) ? server : "";

  const start = async (): Promise<void> => {
    const abort = new AbortController();
    running.current = abort;
    setRun(begin(chosen));
    try {
      const stream = rope.stream<Progress, Summary>(chosen ? `${chosen}@${address}` : address, { steps: Number(steps) }, {
        signal: abort.signal, timeout: 300_000,
      });
      for await (const p of stream) setRun((r) => advance(r, p, idOf(stream.from)));
      const reply = await stream.reply;
      setRun((r) => finish(r, reply));
    } catch (err) {
      setRun((r) => stop(r, errorOf(err)));
    }
  };
  const submit = (e: Event): void => {
    e.preventDefault();
    if (run.phase !== "running") void start();
  };
  return (
    <Card id="report" title="Long report" about="A call that sends parts until it is done, and that you can take back.">
      <p class="address mono">{address}</p>
      <form class="line" onSubmit={submit} aria-label={address}>
        <label class="field">
          <span class="label">Steps</span>
          <input id="report-steps" class="number" type="number" min={1} max={1000} value={steps} onInput={(e) => setSteps(e.currentTarget.value)} />
        </label>
        <label class="field grow">
          <span class="label">Server</span>
          <select id="report-server" value={chosen} onChange={(e) => setServer(e.currentTarget.value)}>
            <option value="">any</option>
            {servers.map((s) => <option key={s.id} value={s.id}>{labelOf(s.id)}</option>)}
          </select>
        </label>
        {/* With keys they are two elements: one that turned into the other would submit the form by the same click. */}
        {run.phase === "running"
          ? <button key="cancel" type="button" id="report-cancel" onClick={() => running.current?.abort()}>Cancel</button>
          : <button key="start" type="submit" class="primary" id="report-start">{run.phase === "idle" ? "Start" : "Run again"}</button>}
      </form>
      <Bar run={run} />
      <Outcome run={run} />
    </Card>
  );
}

/** A server and its node, in a list that can show text only. */
function labelOf(id: string): string {
  const [name, place] = [nameOf(id), placeOf(id)];
  return place && place !== name ? `${name} on ${place}` : name;
}

function Bar({ run }: { run: Run }) {
  const done = percent(run);
  return (
    <div class="bar" data-phase={run.phase}>
      <div
        class="track" role="progressbar" id="report-bar" aria-label="Progress of the report"
        aria-valuemin={0} aria-valuemax={100} aria-valuenow={done} aria-valuetext={run.progress ? `${done} %, ${run.progress.note}` : "not started"}
      >
        <div class="fill" style={{ transform: `scaleX(${done / 100})` }} />
      </div>
      <span class="percent">{done} %</span>
    </div>
  );
}

function Outcome({ run }: { run: Run }) {
  const p = run.progress;
  return (
    <div class="result report" aria-live={run.phase === "running" ? "off" : "polite"} id="report-result" data-phase={run.phase}>
      {run.phase === "idle" && <span class="empty">Not started. Try it on a server of its own, and stop that one on the way.</span>}
      {run.phase === "running" && !p && <Waiting />}
      {run.phase === "running" && p && <span>{p.note} <span class="note">step {p.step} of {p.of}</span></span>}
      {run.phase === "done" && run.summary && (
        <span>
          <strong>{run.summary.title}</strong> <span class="note">{count(run.summary.steps, "step")} in {run.summary.seconds.toFixed(1)} s</span>
        </span>
      )}
      {run.phase === "canceled" && <span><strong>Canceled.</strong> <span class="note">The server stopped {p ? `after step ${p.step} of ${p.of}` : "before the first step"}.</span></span>}
      {run.phase === "failed" && run.error && <Problem error={run.error}>{retry(run)}</Problem>}
      {run.server && run.phase !== "failed" && <span class="origin">by <Who id={run.server} /> <On id={run.server} /></span>}
    </div>
  );
}

/** What to do after a server went away. */
function retry(run: Run) {
  if (run.error?.code !== "service_lost" && run.error?.code !== "node_lost") return null;
  const p = run.progress;
  return <p class="hint">{p && `It had done ${p.step} of ${p.of} steps. `}Run it again: another server takes over.</p>;
}
