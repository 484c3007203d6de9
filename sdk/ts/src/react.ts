/**
 * React hooks over a client. They take it from a {@link RopeProvider}.
 *
 * @packageDocumentation
 */
import {
  createContext, createElement, useCallback, useContext, useEffect, useMemo, useRef, useState, useSyncExternalStore,
  type ReactElement, type ReactNode,
} from "react";
import type {
  CallOptions, Incoming, PublishOptions, Rope, RopewalkError, Session, State, StreamOptions, Update, WatchOptions,
} from "./index.js";

const Context = createContext<Rope | undefined>(undefined);

/** Gives a client to the hooks below it. Who made the client closes it. */
export function RopeProvider(props: { rope: Rope; children?: ReactNode }): ReactElement {
  return createElement(Context.Provider, { value: props.rope }, props.children);
}

/** The client. */
export function useRope(): Rope {
  const rope = useContext(Context);
  if (!rope) throw new Error("useRope: there is no RopeProvider above this component");
  return rope;
}

/** What {@link useConnection} tells. */
export interface Connection {
  state: State;
  /** The id of the client; "" before the first connection. */
  id: string;
  /** The node that it is, or was last, connected to. */
  node: { readonly id: string; readonly name: string };
  /** The last error that the client told of as an event. */
  error: RopewalkError | undefined;
}

/** The state of the connection, kept up to date. */
export function useConnection(): Connection {
  const rope = useRope();
  const subscribe = useCallback((changed: () => void) => {
    const offs = [rope.on("state", changed), rope.on("node", changed)];
    return () => offs.forEach((off) => off());
  }, [rope]);
  const read = (): string => JSON.stringify([rope.state, rope.id, rope.node]); // a text: equal ones are the same
  const now = useSyncExternalStore(subscribe, read, read);
  const [state, id, node] = useMemo(() => JSON.parse(now) as [State, string, Connection["node"]], [now]);
  const [error, setError] = useState<RopewalkError>();
  useEffect(() => rope.on("error", setError), [rope]);
  return { state, id, node, error };
}

/** Who the client is, kept up to date; undefined: nobody. */
export function useSession(): Session | undefined {
  const rope = useRope();
  const subscribe = useCallback((changed: () => void) => rope.on("session", changed), [rope]);
  const read = (): Session | undefined => rope.session;
  return useSyncExternalStore(subscribe, read, read);
}

/** What {@link useCall} tells. */
export interface CallState<Out> {
  /** The last reply; it stays while the next call is under way. */
  data: Out | undefined;
  error: RopewalkError | undefined;
  loading: boolean;
  /** Calls again. */
  run: () => void;
}

/** Options of {@link useCall}. */
export interface UseCallOptions extends Omit<CallOptions, "signal"> {
  /** Do not call; what is under way is canceled. */
  skip?: boolean | undefined;
}

/**
 * Calls an address when the component appears and whenever the address or the input changes; what is under way is
 * canceled then, and when the component goes. Inputs are compared as JSON.
 */
export function useCall<Out = unknown>(address: string, input?: unknown, options: UseCallOptions = {}): CallState<Out> {
  const rope = useRope();
  const [state, setState] = useState<Omit<CallState<Out>, "run">>({ data: undefined, error: undefined, loading: !options.skip });
  const [round, setRound] = useState(0);
  const latest = useRef({ input, options });
  latest.current = { input, options };
  const skip = options.skip ?? false;
  const key = JSON.stringify(input);
  useEffect(() => {
    if (skip) {
      setState((s) => (s.loading ? { ...s, loading: false } : s));
      return;
    }
    const abort = new AbortController();
    const set = (s: (old: Omit<CallState<Out>, "run">) => Omit<CallState<Out>, "run">): void => {
      if (!abort.signal.aborted) setState(s);
    };
    set((old) => ({ ...old, loading: true }));
    rope.call<Out>(address, latest.current.input, { ...latest.current.options, signal: abort.signal }).then(
      (data) => set(() => ({ data, error: undefined, loading: false })),
      (error: RopewalkError) => set((old) => ({ ...old, error, loading: false })),
    );
    return () => abort.abort();
  }, [rope, address, key, skip, round]);
  const run = useCallback(() => setRound((n) => n + 1), []);
  return { ...state, run };
}

/** What {@link useStream} tells. */
export interface StreamState<Part, Out> {
  /** The parts that came, the latest last. */
  parts: readonly Part[];
  reply: Out | undefined;
  error: RopewalkError | undefined;
  running: boolean;
  /** Starts the stream; one that runs is canceled first. */
  start: (input?: unknown) => void;
  /** Cancels the stream; the error is then `canceled`. */
  cancel: () => void;
}

/** Options of {@link useStream}. */
export interface UseStreamOptions extends Omit<StreamOptions, "signal"> {
  /** How many parts are kept, the latest. Default 1,000. */
  keep?: number | undefined;
}

/** A stream that is started by hand, such as by a button. It is canceled when the component goes. */
export function useStream<Part = unknown, Out = unknown>(address: string, options: UseStreamOptions = {}): StreamState<Part, Out> {
  type Plain = Omit<StreamState<Part, Out>, "start" | "cancel">;
  const rope = useRope();
  const [state, setState] = useState<Plain>({ parts: [], reply: undefined, error: undefined, running: false });
  const current = useRef<AbortController>(undefined);
  const latest = useRef(options);
  latest.current = options;

  const start = useCallback((input?: unknown) => {
    current.current?.abort();
    const abort = current.current = new AbortController();
    const set = (change: (old: Plain) => Plain): void => {
      if (current.current === abort) setState(change);
    };
    set(() => ({ parts: [], reply: undefined, error: undefined, running: true }));
    const { keep = 1000, ...rest } = latest.current;
    void (async () => {
      try {
        const stream = rope.stream<Part, Out>(address, input, { ...rest, signal: abort.signal });
        for await (const part of stream) set((old) => ({ ...old, parts: [...old.parts, part].slice(-keep) }));
        const reply = await stream.reply;
        set((old) => ({ ...old, reply, running: false }));
      } catch (error) {
        set((old) => ({ ...old, error: error as RopewalkError, running: false }));
      }
    })();
  }, [rope, address]);

  const cancel = useCallback(() => current.current?.abort(), []);
  useEffect(() => () => {
    current.current?.abort();
    current.current = undefined; // nothing is set any more
    setState((old) => (old.running ? { ...old, running: false } : old));
  }, [rope, address]);
  return { ...state, start, cancel };
}

/** Has `fn` called with each message that somebody sends to this client, while the component is there. */
export function useMessages<T = unknown>(fn: (message: Incoming<T>) => void): void {
  const rope = useRope();
  const latest = useRef(fn);
  latest.current = fn;
  useEffect(() => rope.onMessage<T>((m) => latest.current(m)), [rope]);
}

/** What {@link useTopic} tells. */
export interface TopicState<T> {
  /** The content, or the last event; it stays while there is no connection, or an error in its place. */
  content: T | undefined;
  /** The same, with all that is known of it. */
  update: Update<T> | undefined;
  /** What is wrong: there is no content now, or it may not be watched. The watch goes on. */
  error: RopewalkError | undefined;
  /** Nothing has come yet. */
  loading: boolean;
  /** What is shown may not be what the node has: there is no connection, or an error. */
  stale: boolean;
  /** Publishes another content, which is shown at once; if it is refused, the one before is shown again. */
  publish: (content: T | undefined, options?: PublishOptions) => Promise<unknown>;
}

/** Options of {@link useTopic}. */
export interface UseTopicOptions extends Pick<WatchOptions, "params" | "delta" | "history"> {
  /** Do not watch. */
  skip?: boolean | undefined;
  /** With other parameters, or another address, show what there was until the new content has come. */
  previous?: boolean | undefined;
  /** For how many milliseconds the topic is kept after the component went, in case it comes back. Default 1,000. */
  linger?: number | undefined;
}

/**
 * Watches a topic while the component is there. All components that watch the same share one subscription, and those
 * that come later have the content in their first render.
 */
export function useTopic<T = unknown>(address: string, options: UseTopicOptions = {}): TopicState<T> {
  const rope = useRope();
  const { skip = false, previous } = options;
  const key = JSON.stringify([options.params, options.delta, options.history, options.linger]);
  const latest = useRef(options);
  latest.current = options;
  const store = useMemo(() => new TopicStore<T>(rope, address, latest.current, skip), [rope, address, key, skip]);
  const state = useSyncExternalStore(store.subscribe, store.read, store.read);
  const before = useRef<Shown<T>>(state);
  const shown = previous && state.loading && before.current.update ? { ...before.current, error: undefined, stale: true } : state;
  useEffect(() => {
    before.current = shown;
  });
  const publish = useCallback((content: T | undefined, o: PublishOptions = {}) =>
    rope.publish(address, content, { optimistic: true, ...o }), [rope, address]);
  return { ...shown, publish };
}

type Shown<T> = Omit<TopicState<T>, "publish">;

class TopicStore<T> {
  #state: Shown<T>;
  readonly #rope: Rope;
  readonly #address: string;
  readonly #options: UseTopicOptions;
  readonly #skip: boolean;

  constructor(rope: Rope, address: string, options: UseTopicOptions, skip: boolean) {
    this.#rope = rope;
    this.#address = address;
    this.#options = options;
    this.#skip = skip;
    const update = skip ? undefined : rope.peek<T>(address, options);
    this.#state = { content: update?.content, update, error: undefined, loading: !skip && !update, stale: update !== undefined };
  }

  readonly read = (): Shown<T> => this.#state;

  readonly subscribe = (changed: () => void): (() => void) => {
    if (this.#skip) return () => {};
    const set = (news: Partial<Shown<T>>): void => {
      const next = { ...this.#state, ...news };
      if ((Object.keys(next) as (keyof Shown<T>)[]).every((k) => next[k] === this.#state[k])) return;
      this.#state = next;
      changed();
    };
    let sure = this.#state.update?.optimistic ? undefined : this.#state.update; // the last that the node had
    const failed = (error: RopewalkError): void =>
      set({ update: sure, content: sure?.content, error, loading: false, stale: sure !== undefined });
    const { params, delta, history, linger = 1000 } = this.#options;
    try {
      const watch = this.#rope.watch<T>(this.#address, {
        params, delta, history, linger, onError: failed,
        onLive: (live) => set(live ? { error: undefined, stale: false } : { stale: this.#state.update !== undefined }),
      }, (update) => {
        if (!update.optimistic) sure = update;
        set({ content: update.content, update, error: undefined, loading: false, stale: !watch.live });
      });
      if (watch.live) set({ stale: false });
      return () => watch.close();
    } catch (err) { // the client was closed
      failed(err as RopewalkError);
      return () => {};
    }
  };
}

/** What {@link useEvents} tells. */
export interface EventsState<T> {
  /** The events that came, the latest last. */
  events: readonly Update<T>[];
  error: RopewalkError | undefined;
  /** Forgets them. */
  clear: () => void;
}

/** Options of {@link useEvents}. */
export interface UseEventsOptions extends Pick<WatchOptions, "params" | "history"> {
  /** How many are kept, the latest. Default 1,000. */
  keep?: number | undefined;
}

/** The events of a topic, or of all topics of a pattern, that came while the component is there. */
export function useEvents<T = unknown>(address: string, options: UseEventsOptions = {}): EventsState<T> {
  const rope = useRope();
  const [state, setState] = useState<Omit<EventsState<T>, "clear">>({ events: [], error: undefined });
  const latest = useRef(options);
  latest.current = options;
  const key = JSON.stringify([options.params, options.history]);
  useEffect(() => {
    setState({ events: [], error: undefined });
    const { params, history } = latest.current;
    const failed = (error: RopewalkError): void => setState((old) => ({ ...old, error }));
    try {
      const watch = rope.watch<T>(address, { params, history, onError: failed },
        (u) => setState((old) => ({ events: [...old.events, u].slice(-(latest.current.keep ?? 1000)), error: undefined })));
      return () => watch.close();
    } catch (err) { // the client was closed
      return failed(err as RopewalkError);
    }
  }, [rope, address, key]);
  const clear = useCallback(() => setState((old) => ({ ...old, events: [] })), []);
  return { ...state, clear };
}
