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
