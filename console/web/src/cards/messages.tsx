import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { short } from "../model/address";
import { clock } from "../model/format";
import type { Entry } from "../model/inbox";
import { inbox, markRead, post, recipient } from "../state/inbox";
import { moved, online } from "../state/rope";
import { others } from "../state/world";
import { Card } from "../ui/card";
import { Icon } from "../ui/icon";
import { On, Who } from "../ui/who";

/** Messages from client to client. */
export function MessagesCard() {
  const { unread } = inbox.value;
  return (
    <Card
      id="messages" title="Messages" grows onLook={markRead}
      about={<>Straight to one client, or to all. {!moved.value && <a href="/" target="_blank" rel="noopener">Open a second tab <Icon name="out" /></a>}</>}
      side={unread > 0 && <span class="badge" id="unread" role="status">{unread} new</span>}
    >
      <Log />
      <Recipients />
      <Compose />
    </Card>
  );
}

function Log() {
  const { entries, firstUnread } = inbox.value;
  const end = useRef<HTMLDivElement>(null);
  useEffect(() => {
    end.current?.scrollTo({ top: end.current.scrollHeight });
  }, [entries.length]);
  if (!entries.length) {
    return (
      <p class="empty block log">
        {!online.value ? "Nobody can be reached without a connection."
          : others.value.length ? "No messages yet. Choose who gets the first one."
            : "Nobody else is here. Open this page in a second tab and send it something."}
      </p>
    );
  }
  return (
    <div class="log" ref={end} tabIndex={0} role="log" aria-label="Messages">
      {entries.map((e) => <Line key={e.key} entry={e} isNew={e.key === firstUnread} />)}
    </div>
  );
}

function Line({ entry, isNew }: { entry: Entry; isNew: boolean }) {
  const mine = entry.direction === "out";
  return (
    <>
      {isNew && <div class="divider"><span>New</span></div>}
      <div class={`message ${entry.direction}`} data-state={entry.state}>
        <span class="meta">
          {mine && <span class="note">to</span>}
          {entry.who === "*" ? <span>everybody</span> : <Sender entry={entry} />}
          <On id={entry.who} />
          {!mine && entry.broadcast && <span class="note">to everybody</span>}
          <time>{clock(entry.at)}</time>
          {mine && entry.state !== "failed" && <span class="tick" title={entry.state === "delivered" ? "Handed over" : "On its way"}>{entry.state === "delivered" ? "✓" : "…"}</span>}
        </span>
        <span class="text">{entry.text}</span>
        {entry.problem && <span class="note bad">{entry.problem}</span>}
      </div>
    </>
  );
}

function Sender({ entry }: { entry: Entry }) {
  if (!entry.who) return <span>the node</span>;
  return (
    <button type="button" class="plain" onClick={() => (recipient.value = entry.who)} title={`Write to ${entry.who}`}>
      <Who id={entry.who} />
    </button>
  );
}

function Recipients() {
  const list = others.value;
  const gone = recipient.value !== "*" && !list.some((c) => c.id === recipient.value);
  const chip = (id: string, label: ComponentChildren, there = true) => (
    <label key={id} class="chip" data-gone={!there}>
      <input type="radio" name="recipient" value={id} checked={recipient.value === id} onChange={() => (recipient.value = id)} />
      {label}
    </label>
  );
  return (
    <fieldset class="recipients">
      <legend class="hidden">Who gets the message</legend>
      {chip("*", <span>Everybody</span>)}
      {list.map((c) => chip(c.id, <><Who id={c.id} note={c.serves ? "service" : undefined} /><On id={c.id} /></>))}
      {gone && chip(recipient.value, <Who id={recipient.value} note="gone" />, false)}
    </fieldset>
  );
}

function Compose() {
  const [text, setText] = useState("");
  const to = recipient.value;
  const submit = (e: Event): void => {
    e.preventDefault();
    if (!text.trim()) return;
    void post(to, text.trim());
    setText("");
  };
  const whom = to === "*" ? "everybody" : short(to);
  return (
    <form class="line compose" onSubmit={submit} aria-label="Send a message">
      <input
        id="compose" type="text" maxLength={2000} autocomplete="off" aria-label={`Message to ${whom}`} placeholder={`Message to ${whom}`}
        value={text} onInput={(e) => setText(e.currentTarget.value)}
      />
      <button type="submit" class="primary" disabled={!text.trim()}>Send</button>
    </form>
  );
}
