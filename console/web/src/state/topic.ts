import type { RopewalkError, Update } from "@ropewalk/client";
import { useEffect, useState } from "preact/hooks";
import { rope } from "./rope";

/** What is known of a topic. */
export interface Topic<T> {
  update: Update<T> | undefined;
  /** What is wrong with it now. */
  error: RopewalkError | undefined;
  /** What is shown is what the node has. */
  live: boolean;
}

/** What a topic is watched with. */
export interface TopicOptions {
  params?: Record<string, unknown>;
  /** Not now. */
  skip?: boolean;
}

/** How long a topic is kept after it was left, in milliseconds: for who looks at the other view and comes back. */
const linger = 5_000;

/** Watches a topic while the component is there. With other parameters the old content is shown until the new is there. */
export function useTopic<T>(address: string, { params, skip = false }: TopicOptions = {}): Topic<T> {
  const [topic, setTopic] = useState<Topic<T>>(() => ({ update: rope.peek<T>(address, { params }), error: undefined, live: false }));
  const key = JSON.stringify(params);
  useEffect(() => {
    if (skip) return undefined;
    let sure = rope.peek<T>(address, { params }); // the last that the node had
    if (sure?.optimistic) sure = undefined;
    const change = (news: Partial<Topic<T>>): void => setTopic((old) => ({ ...old, ...news }));
    const watch = rope.watch<T>(address, {
      params, delta: true, linger,
      onError: (error) => setTopic((old) => ({ ...old, error, update: old.update?.optimistic ? sure : old.update })),
      onLive: (live) => change(live ? { live, error: undefined } : { live }),
    }, (update) => {
      if (!update.optimistic) sure = update;
      change({ update, error: undefined, live: watch.live });
    });
    return () => watch.close();
  }, [address, key, skip]);
  return topic;
}
