import { withScheme } from "./transport.js";
/** Connects by WebSocket. */
export function dialWebSocket(url, target, sink) {
    const Socket = target.WebSocket;
    const ws = new Socket(withScheme(url, "ws").href, [`ropewalk.v1.${target.framing}`]);
    ws.binaryType = "arraybuffer";
    ws.onmessage = ({ data }) => {
        if (typeof data === "string")
            sink.frame(data);
        else if (data instanceof ArrayBuffer)
            sink.frame(new Uint8Array(data));
    };
    ws.onerror = () => { }; // tells nothing, and is followed by close
    ws.onclose = ({ code, reason }) => sink.closed({ code, reason });
    return {
        send: (frame) => ws.send(frame),
        // One that closes says so later; until then it drops what it is given.
        buffered: () => (ws.readyState > 1 ? Infinity : ws.bufferedAmount),
        close: () => ws.close(1000, "bye"),
        abort: () => {
            ws.onmessage = ws.onclose = null;
            ws.close();
        },
    };
}
