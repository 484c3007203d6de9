/**
 * React hooks over a client. They take it from a {@link RopeProvider}.
 *
 * @packageDocumentation
 */
import { createContext, createElement, useCallback, useContext, useEffect, useMemo, useRef, useState, useSyncExternalStore, } from "react";
const Context = createContext(undefined);
/** Gives a client to the hooks below it. Who made the client closes it. */
export function RopeProvider(props) {
    return createElement(Context.Provider, { value: props.rope }, props.children);
}
/** The client. */
export function useRope() {
    const rope = useContext(Context);
    if (!rope)
        throw new Error("useRope: there is no RopeProvider above this component");
    return rope;
}
/** The state of the connection, kept up to date. */
export function useConnection() {
    const rope = useRope();
    const subscribe = useCallback((changed) => {
        const offs = [rope.on("state", changed), rope.on("node", changed)];
        return () => offs.forEach((off) => off());
    }, [rope]);
    const read = () => JSON.stringify([rope.state, rope.id, rope.node]); // a text: equal ones are the same
    const now = useSyncExternalStore(subscribe, read, read);
    const [state, id, node] = useMemo(() => JSON.parse(now), [now]);
    const [error, setError] = useState();
    useEffect(() => rope.on("error", setError), [rope]);
    return { state, id, node, error };
}
/** Who the client is, kept up to date; undefined: nobody. */
export function useSession() {
    const rope = useRope();
    const subscribe = useCallback((changed) => rope.on("session", changed), [rope]);
    const read = () => rope.session;
    return useSyncExternalStore(subscribe, read, read);
}
/**
 * Calls an address when the component appears and whenever the address or the input changes; what is under way is
 * canceled then, and when the component goes. Inputs are compared as JSON.
 */
export function useCall(address, input, options = {}) {
    const rope = useRope();
    const [state, setState] = useState({ data: undefined, error: undefined, loading: !options.skip });
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
        const set = (s) => {
            if (!abort.signal.aborted)
                setState(s);
        };
        set((old) => ({ ...old, loading: true }));
        rope.call(address, latest.current.input, { ...latest.current.options, signal: abort.signal }).then((data) => set(() => ({ data, error: undefined, loading: false })), (error) => set((old) => ({ ...old, error, loading: false })));
        return () => abort.abort();
    }, [rope, address, key, skip, round]);
    const run = useCallback(() => setRound((n) => n + 1), []);
    return { ...state, run };
}
/** A stream that is started by hand, such as by a button. It is canceled when the component goes. */
export function useStream(address, options = {}) {
    const rope = useRope();
    const [state, setState] = useState({ parts: [], reply: undefined, error: undefined, running: false });
    const current = useRef(undefined);
    const latest = useRef(options);
    latest.current = options;
    const start = useCallback((input) => {
        current.current?.abort();
        const abort = current.current = new AbortController();
        const set = (change) => {
            if (current.current === abort)
                setState(change);
        };
        set(() => ({ parts: [], reply: undefined, error: undefined, running: true }));
        const { keep = 1000, ...rest } = latest.current;
        void (async () => {
            try {
                const stream = rope.stream(address, input, { ...rest, signal: abort.signal });
                for await (const part of stream)
                    set((old) => ({ ...old, parts: [...old.parts, part].slice(-keep) }));
                const reply = await stream.reply;
                set((old) => ({ ...old, reply, running: false }));
            }
            catch (error) {
                set((old) => ({ ...old, error: error, running: false }));
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
export function useMessages(fn) {
    const rope = useRope();
    const latest = useRef(fn);
    latest.current = fn;
    useEffect(() => rope.onMessage((m) => latest.current(m)), [rope]);
}
/**
 * Watches a topic while the component is there. All components that watch the same share one subscription, and those
 * that come later have the content in their first render.
 */
export function useTopic(address, options = {}) {
    const rope = useRope();
    const { skip = false, previous } = options;
    const key = JSON.stringify([options.params, options.delta, options.history, options.linger]);
    const latest = useRef(options);
    latest.current = options;
    const store = useMemo(() => new TopicStore(rope, address, latest.current, skip), [rope, address, key, skip]);
    const state = useSyncExternalStore(store.subscribe, store.read, store.read);
    const before = useRef(state);
    const shown = previous && state.loading && before.current.update ? { ...before.current, error: undefined, stale: true } : state;
    useEffect(() => {
        before.current = shown;
    });
    const publish = useCallback((content, o = {}) => rope.publish(address, content, { optimistic: true, ...o }), [rope, address]);
    return { ...shown, publish };
}
class TopicStore {
    #state;
    #rope;
    #address;
    #options;
    #skip;
    constructor(rope, address, options, skip) {
        this.#rope = rope;
        this.#address = address;
        this.#options = options;
        this.#skip = skip;
        const update = skip ? undefined : rope.peek(address, options);
        this.#state = { content: update?.content, update, error: undefined, loading: !skip && !update, stale: update !== undefined };
    }
    read = () => this.#state;
    subscribe = (changed) => {
        if (this.#skip)
            return () => { };
        const set = (news) => {
            const next = { ...this.#state, ...news };
            if (Object.keys(next).every((k) => next[k] === this.#state[k]))
                return;
            this.#state = next;
            changed();
        };
        let sure = this.#state.update?.optimistic ? undefined : this.#state.update; // the last that the node had
        const failed = (error) => set({ update: sure, content: sure?.content, error, loading: false, stale: sure !== undefined });
        const { params, delta, history, linger = 1000 } = this.#options;
        try {
            const watch = this.#rope.watch(this.#address, {
                params, delta, history, linger, onError: failed,
                onLive: (live) => set(live ? { error: undefined, stale: false } : { stale: this.#state.update !== undefined }),
            }, (update) => {
                if (!update.optimistic)
                    sure = update;
                set({ content: update.content, update, error: undefined, loading: false, stale: !watch.live });
            });
            if (watch.live)
                set({ stale: false });
            return () => watch.close();
        }
        catch (err) { // the client was closed
            failed(err);
            return () => { };
        }
    };
}
/** The events of a topic, or of all topics of a pattern, that came while the component is there. */
export function useEvents(address, options = {}) {
    const rope = useRope();
    const [state, setState] = useState({ events: [], error: undefined });
    const latest = useRef(options);
    latest.current = options;
    const key = JSON.stringify([options.params, options.history]);
    useEffect(() => {
        setState({ events: [], error: undefined });
        const { params, history } = latest.current;
        const failed = (error) => setState((old) => ({ ...old, error }));
        try {
            const watch = rope.watch(address, { params, history, onError: failed }, (u) => setState((old) => ({ events: [...old.events, u].slice(-(latest.current.keep ?? 1000)), error: undefined })));
            return () => watch.close();
        }
        catch (err) { // the client was closed
            return failed(err);
        }
    }, [rope, address, key]);
    const clear = useCallback(() => setState((old) => ({ ...old, events: [] })), []);
    return { ...state, clear };
}
