import { fromWire } from "./error.js";
import { bytes, fromBase64 } from "./message.js";
/** Makes a result of the reply to a gather. */
export function gathered(body) {
    const b = (body ?? {});
    const answers = (b.answers ?? []).map((a) => answer(a));
    return {
        answers,
        missing: b.missing ?? [],
        servers: b.servers ?? answers.length,
        values: answers.filter((a) => !a.error).map((a) => a.body),
    };
}
/** Makes an answer of what came for it. */
export function answer(a) {
    const { server, node, name, path } = a;
    const out = { server, name, path, took: (a.took ?? 0) * 1000 };
    if (node)
        out.node = node;
    if (a.error !== undefined)
        out.error = fromWire(a.error);
    else if (a.contentType)
        out.body = bytes(fromBase64(String(a.body)), a.contentType);
    else
        out.body = a.body;
    return out;
}
