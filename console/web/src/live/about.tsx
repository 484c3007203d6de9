import type { Topic } from "../state/topic";

/** The address of a topic, and whether what is shown is what the node has. */
export function About({ address, topic }: { address: string; topic: Topic<unknown> }) {
  const { live, error, update } = topic;
  const word = error ? "error" : live ? "live" : update ? "stale" : "waiting";
  return (
    <span class="topic-line">
      <span class="pulse" data-is={word} title={titles[word]}>
        <i key={`${update?.epoch} ${update?.offset}`} aria-hidden="true" />{word}
      </span>
      <span class="mono topic">{address}</span>
    </span>
  );
}

const titles = {
  live: "Every change comes by itself", stale: "There is no connection; this is what it was",
  waiting: "Nothing has come yet", error: "Something is wrong with it",
} as const;
