/** The same place by another scheme: `http` or `ws`, with `s` if it had one. */
export function withScheme(url, scheme) {
    // Not by setting protocol: a URL may not change between schemes that browsers count as different kinds.
    return new URL(url.href.replace(/^\w+:/, scheme + (/^(wss|https):/.test(url.href) ? "s:" : ":")));
}
