/**
 * React hooks over a client. They take it from a {@link RopeProvider}.
 *
 * @packageDocumentation
 */
import {
  createContext, createElement, useCallback, useContext, useEffect, useMemo, useRef, useState, useSyncExternalStore,
  type ReactElement, type ReactNode,
} from "react";
import type { CallOptions, Incoming, Rope, RopewalkError, Session, State, StreamOptions } from "./index.js";

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
