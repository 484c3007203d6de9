import { clock, duration, size } from "../model/format";
import { blank, type Line } from "../model/tap";
import { online } from "../state/rope";
import { paused, sample, tape, withOwn } from "../state/tap";
import { many } from "../state/world";
import { Card } from "../ui/card";
import { Icon } from "../ui/icon";
import { Who } from "../ui/who";

/** The messages that pass the nodes. */
export function TrafficCard() {
  const { lines, missed } = tape.value;
  return (
    <Card id="traffic" title="Traffic" about={many.value ? "What passes the nodes, secrets masked." : "What passes the node, secrets masked."} side={<Buttons />} grows>
      {lines.length
        ? (
          <ol class="tape" tabIndex={0} aria-label="Messages that passed, the newest first">
            {lines.map((l) => <Row key={l.key} line={l} />)}
          </ol>
        )
        : <p class="empty block">{online.value ? "Quiet. Call something, and see it here." : "Nothing passes without a connection."}</p>}
      <div class="line between">
        <label class="check">
          <input type="checkbox" checked={withOwn.value} onChange={(e) => (withOwn.value = e.currentTarget.checked)} />
          <span>also calls to <code>node:/</code></span>
        </label>
        {sample.value < 1
          ? <span class="note">busy: shows about 1 in {Math.round(1 / sample.value)}</span>
          : missed > 0 && <span class="note">{missed} came too fast to show</span>}
      </div>
    </Card>
  );
}

function Buttons() {
  return (
    <>
      <button type="button" class="quiet text" onClick={() => (tape.value = { ...blank, next: tape.value.next })}>Clear</button>
      <button type="button" class="quiet text" id="pause" aria-pressed={paused.value} onClick={() => (paused.value = !paused.value)}>
        <Icon name={paused.value ? "play" : "pause"} /> {paused.value ? "Go on" : "Pause"}
      </button>
    </>
  );
}

function Row({ line }: { line: Line }) {
  return (
    <li data-verb={line.verb}>
      <span class="when">
        <time class="mono">{clock(line.at)}</time>
        {many.value && line.node && <span class="note seen" title={`Seen by ${line.node}`}>{line.node}</span>}
      </span>
      <span class="verb">{line.verb}</span>
      <span class="what">
        <span class="mono route" title={line.address}>{line.address}</span>
        <span class="mono body" title={line.body}>{line.code ? <code class="code">{line.code}</code> : line.body}</span>
      </span>
      <span class="end">
        <Who id={line.from} />
        <span class="note">{line.took ? duration(line.took) : size(line.size)}</span>
      </span>
    </li>
  );
}
