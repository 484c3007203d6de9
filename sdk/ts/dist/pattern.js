/** Takes an address apart. It does not judge it; the node has done that. */
export function parseAddress(address) {
    const m = /^(?:([^:@]*)@)?([^:@]*):(?:\[([^\]]*)\])?([^?]*)(?:\?(.*))?$/s.exec(address);
    return { instance: m?.[1] ?? "", name: m?.[2] ?? "", method: m?.[3] ?? "", path: m?.[4] || "/", query: m?.[5] ?? "" };
}
/** What a service answers for. The most specific pattern that matches a path wins. */
export class Routes {
    #routes = [];
    add(pattern, value) {
        this.#routes.push({ segments: split(pattern), value });
        this.#routes.sort((a, b) => moreSpecific(a.segments, b.segments));
    }
    /** The route that a path leads to, and what the path has in the places of {name}. */
    find(path) {
        const given = split(path);
        for (const { segments, value } of this.#routes) {
            const params = match(segments, given);
            if (params)
                return { value, params };
        }
        return undefined;
    }
}
function split(path) {
    return path.split("/").filter((s) => s !== "");
}
// Literal before {name} and *, these before **.
function rank(segment) {
    if (segment === undefined)
        return 3;
    return segment === "**" ? 2 : segment === "*" || segment.startsWith("{") ? 1 : 0;
}
function moreSpecific(a, b) {
    for (let i = 0; i < Math.max(a.length, b.length); i++) {
        const d = rank(a[i]) - rank(b[i]);
        if (d)
            return d;
    }
    return 0;
}
function match(segments, given) {
    const open = segments.at(-1) === "**";
    if (open ? given.length < segments.length : given.length !== segments.length)
        return undefined;
    const params = {};
    for (const [i, s] of segments.entries()) {
        if (s === "**")
            break;
        if (s.startsWith("{"))
            params[s.slice(1, -1)] = given[i];
        else if (s !== "*" && s !== given[i])
            return undefined;
    }
    return params;
}
