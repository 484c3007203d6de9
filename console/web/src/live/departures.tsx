import type { RopewalkError } from "@ropewalk/client";
import { useEffect, useRef, useState } from "preact/hooks";
import { leaves, statuses, type Departure } from "../model/live";
import { rope } from "../state/rope";
import { useTopic } from "../state/topic";
import { Card } from "../ui/card";
import { Problem } from "../ui/problem";
import { About } from "./about";
import { app } from "./names";

const address = `query:/${app}/Database/departures.sql`;
const setup = `query:/${app}/Database/setup.sql`;
const change = `query:/${app}/Database/change.sql`;

/** A table that follows its database. */
export function DeparturesCard() {
  const [search, setSearch] = useState("");
  const [chosen, setChosen] = useState<number>();
  const [byKey, setByKey] = useState(false);
  const table = useRef<HTMLDivElement>(null);
  const topic = useTopic<Departure[]>(address, search ? { params: { search } } : {});
  const rows = topic.update?.content ?? [];
  const row = rows.find((r) => r.id === chosen);
  const choose = (id: number, e: MouseEvent): void => {
    setByKey(e.detail === 0); // no mouse was there
    setChosen(id === chosen ? undefined : id);
  };
  const done = (): void => {
    if (byKey) table.current?.querySelector<HTMLElement>('[aria-pressed="true"]')?.focus();
    setChosen(undefined);
  };
  return (
    <Card id="departures" title="Departures" about={<About address={address} topic={topic} />} grows>
      <input type="text" class="search" placeholder="Search: Lisbon, B7, delayed …" aria-label="Search" value={search} onInput={(e) => setSearch(e.currentTarget.value)} />
      {topic.error && <Problem error={topic.error}>{/no such table/.test(topic.error.message) && <Make />}</Problem>}
      <div class="scroll flights" data-stale={!topic.live} tabIndex={0} role="region" aria-label="Table of departures" ref={table}>
        <table>
          <thead><tr><th>Time</th><th>Flight</th><th>To</th><th>Gate</th><th>Status</th></tr></thead>
          <tbody>{rows.map((r) => <Row key={r.id} row={r} chosen={r.id === chosen} onChoose={(e) => choose(r.id, e)} />)}</tbody>
        </table>
        {topic.update && !rows.length && <p class="empty nothing">No flight has that.</p>}
      </div>
      {row ? <Change key={row.id} row={row} focus={byKey} onDone={done} /> : <p class="empty">Choose a flight to change its row. Every open page follows.</p>}
    </Card>
  );
}

/** Runs the file that makes the table. */
function Make() {
  const [error, setError] = useState<RopewalkError>();
  return (
    <p class="line">
      <button type="button" class="small" id="make-table" onClick={() => void rope.publish(setup, {}).catch(setError)}>Make the table</button>
      {error && <span class="note bad">{error.message}</span>}
    </p>
  );
}

function Row({ row, chosen, onChoose }: { row: Departure; chosen: boolean; onChoose: (e: MouseEvent) => void }) {
  const mark = useChanged(row);
  return (
    <tr data-id={row.id} data-status={row.status} data-chosen={chosen} class={mark} onClick={onChoose}>
      <td class="time">{row.delay > 0 && row.status !== "cancelled" ? <><s>{row.planned}</s> <b>{leaves(row)}</b></> : row.planned}</td>
      <td class="mono"><button type="button" class="plain" aria-pressed={chosen}>{row.flight}</button></td>
      <td class="where">{row.destination}</td>
      <td class="mono">{row.gate}</td>
      <td><span class="status">{row.status}{row.delay > 0 && row.status === "delayed" && <span class="min"> {row.delay} min</span>}</span></td>
    </tr>
  );
}

/** A class for a while after a row became another one; of two, so that it begins anew with each change. */
function useChanged(row: Departure): string {
  const before = useRef(row);
  const turn = useRef(0);
  const [mark, setMark] = useState("");
  useEffect(() => {
    if (before.current === row || JSON.stringify(before.current) === JSON.stringify(row)) return;
    before.current = row;
    setMark(turn.current++ % 2 ? "changed-a" : "changed-b");
  }, [row]);
  return mark;
}

/** The editor of a row. Who came by the keyboard goes on in it. What is not touched follows the row. */
function Change({ row, focus, onDone }: { row: Departure; focus: boolean; onDone: () => void }) {
  const first = useRef<HTMLInputElement>(null);
  const gone = useRef(false);
  useEffect(() => {
    if (focus) first.current?.focus();
    return () => { gone.current = true; };
  }, []);
  const [edits, setEdits] = useState<{ gate?: string; delay?: string; status?: string }>({});
  const { gate, delay, status } = { ...row, ...edits };
  const abort = useRef<AbortController>(undefined);
  const [error, setError] = useState<RopewalkError>();
  const [busy, setBusy] = useState(false);
  const submit = (e: Event): void => {
    e.preventDefault();
    if (busy) return;
    setBusy(true);
    const { signal } = abort.current = new AbortController();
    rope.publish(change, { id: row.id, gate, delay: Number(delay), status }, { signal }).then(() => {
      if (!gone.current) onDone(); // else another row is being changed by now
    }, (err: RopewalkError) => {
      setError(err);
      setBusy(false);
    });
  };
  const cancel = (): void => {
    abort.current?.abort(); // what waits for a connection is not wanted any more
    onDone();
  };
  return (
    <form class="change" id="change" onSubmit={submit} onKeyDown={(e) => { if (e.key === "Escape") cancel(); }} aria-label={`Change ${row.flight}`}>
      <div class="line">
        <strong class="mono">{row.flight}</strong>
        <label class="field"><span class="label">Gate</span><input id="change-gate" ref={first} type="text" class="gate mono" maxLength={4} value={gate} onInput={(e) => setEdits({ ...edits, gate: e.currentTarget.value })} /></label>
        <label class="field"><span class="label">Delay</span><input id="change-delay" type="number" class="number" required value={delay} onInput={(e) => setEdits({ ...edits, delay: e.currentTarget.value })} /><span class="label">min</span></label>
        <select id="change-status" aria-label="Status" value={status} onChange={(e) => setEdits({ ...edits, status: e.currentTarget.value })}>
          {statuses.map((s) => <option key={s}>{s}</option>)}
        </select>
        <span class="line end">
          <button type="button" class="quiet text" onClick={cancel}>Cancel</button>
          <button type="submit" class="primary small" aria-disabled={busy}>Save</button>
        </span>
      </div>
      {error && <div role="alert"><Problem error={error} /></div>}
    </form>
  );
}
