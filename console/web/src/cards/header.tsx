import { useEffect, useState } from "preact/hooks";
import { clock, duration } from "../model/format";
import { me, moved, nodeName, retryAt, rope, state } from "../state/rope";
import { theme, themes } from "../state/theme";
import { view } from "../state/view";
import { roundTrip } from "../state/world";
import { Copy } from "../ui/copy";
import { Icon, Logo, type IconName } from "../ui/icon";
import { Who } from "../ui/who";

/** What is true of the whole page: the connection, the node at its other end, the id. */
export function Header() {
  return (
    <header class="top">
      <div class="brand">
        <Logo />
        <h1>Ropewalk</h1>
        <nav class="views" aria-label="Views">
          <a href="#/" aria-current={view.value === "calls" ? "page" : undefined}>Calls</a>
          <a href="#/live" aria-current={view.value === "live" ? "page" : undefined}>Live</a>
        </nav>
      </div>
      <Connection />
      <div class="self">
        {me.value && (
          <span class="me">
            <span class="label">You are</span> <Who id={me.value} full />
            <Copy text={me.value} label="Copy your client id" />
          </span>
        )}
        <Theme />
      </div>
    </header>
  );
}

function Connection() {
  const s = state.value;
  const m = moved.value;
  return (
    <div class="connection" data-state={s === "connected" ? "connected" : s === "connecting" ? "connecting" : "offline"} data-moved={!!m}>
      <span class="dot" aria-hidden="true" />
      <span>
        <span role="status" id="state">{words[s]}</span>
        {nodeName.value && (s === "connected" || s === "connecting") && <> to <strong id="node">{nodeName.value}</strong></>}
      </span>
      {s === "connected" && (m
        ? <span class="note way">moved from {m.from} at {clock(new Date(m.at))}</span>
        : <span class="note way">{transports[rope.transport ?? "websocket"]}</span>)}
      {s === "connected" && roundTrip.value > 0 && (
        <span class="note trip" title="Round-trip time: the median of the last calls">{duration(roundTrip.value)}</span>
      )}
      {s === "waiting" && <Countdown />}
    </div>
  );
}

const words = {
  connecting: "Connecting", connected: "Connected", waiting: "Offline", closing: "Closing", closed: "Closed",
} as const;

const transports = { websocket: "one WebSocket", stream: "HTTP stream", poll: "long-polling" } as const;

function Countdown() {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick((n) => n + 1), 200);
    return () => clearInterval(timer);
  }, []);
  const left = Math.ceil(((retryAt.value ?? 0) - Date.now()) / 1000);
  return (
    <>
      <span class="note">{left > 0 ? `next try in ${left} s` : "trying again"}</span>
      <button type="button" class="small" onClick={() => rope.reconnect()}>Try now</button>
    </>
  );
}

const icons: Record<string, IconName> = { auto: "auto", light: "sun", dark: "moon" };

function Theme() {
  const next = themes[(themes.indexOf(theme.value) + 1) % themes.length] ?? "auto";
  const label = `Colours: ${theme.value}. Change to ${next}.`;
  return (
    <button type="button" class="quiet" onClick={() => (theme.value = next)} aria-label={label} title={label}>
      <Icon name={icons[theme.value] ?? "auto"} />
    </button>
  );
}
