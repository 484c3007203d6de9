import { RopewalkError } from "@ropewalk/client";
import { useState } from "preact/hooks";
import { readScore, scored, writeScore, type Score } from "../model/live";
import { rope } from "../state/rope";
import { useTopic } from "../state/topic";
import { Card } from "../ui/card";
import { Problem } from "../ui/problem";
import { About } from "./about";
import { Editor } from "./editor";
import { app } from "./names";

const address = `json:/${app}/Resources/score.json`;

/** A football score in a file. */
export function ScoreCard() {
  const topic = useTopic<unknown>(address);
  const content = topic.update?.content;
  const score = readScore(content);
  const text = topic.update && content !== undefined ? JSON.stringify(content, null, 2) : topic.error ? "" : undefined;
  const [refused, setRefused] = useState<RopewalkError>();
  const put = (s: Score): void => {
    setRefused(undefined);
    rope.publish(address, writeScore(s), { optimistic: true }).catch(setRefused); // the card shows what is so
  };
  return (
    <Card id="score" title="Score" about={<About address={address} topic={topic} />}>
      {score
        ? (
          <div class="scoreboard" data-stale={!topic.live || topic.error !== undefined}>
            <Team name={score.home} goals={score.goals[0]} onGoal={() => put(scored(score, 0))} />
            <span class="versus" aria-hidden="true">:</span>
            <Team name={score.away} goals={score.goals[1]} onGoal={() => put(scored(score, 1))} />
          </div>
        )
        : (
          <div class="scoreboard">
            <span class="plain">{brief(content)}</span>
          </div>
        )}
      {refused && <div role="alert"><Problem error={refused} /></div>}
      <Editor id="score-editor" label="The file score.json" text={text} rows={text?.includes("\n") ? 6 : 1} save={save} error={topic.error} />
    </Card>
  );
}

// What is no score is only hinted at: it may be anything, of any size.
function brief(content: unknown): string {
  const text = typeof content === "string" ? content : JSON.stringify(content) ?? "";
  return text.length > 120 ? text.slice(0, 120) + "…" : text;
}

async function save(text: string, signal: AbortSignal): Promise<void> {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (err) {
    throw new RopewalkError("bad_content", `this is no JSON: ${(err as Error).message}`, { hint: 'A text stands in quotes, such as "Home 1 : Away 0".' });
  }
  await rope.publish(address, content, { signal });
}

function Team({ name, goals, onGoal }: { name: string; goals: number; onGoal: () => void }) {
  return (
    <div class="team">
      <span class="name">{name}</span>
      <output class="goals" aria-label={`Goals of ${name}`}><b key={goals}>{goals}</b></output>
      <button type="button" class="small" aria-label={`Goal for ${name}`} onClick={onGoal}>Goal</button>
    </div>
  );
}
