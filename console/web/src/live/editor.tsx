import type { RopewalkError } from "@ropewalk/client";
import { useEffect, useRef, useState } from "preact/hooks";
import { arrived, isDirty, isOvertaken, saved, typed, type Draft } from "../model/draft";
import { lineOf } from "../model/live";
import { draftOf } from "../state/drafts";
import { online } from "../state/rope";
import { Icon } from "../ui/icon";
import { Problem } from "../ui/problem";

interface Props {
  id: string;
  label: string;
  /** What there is now; undefined: it is not known yet. */
  text: string | undefined;
  /** How many lines are shown. */
  rows: number;
  /** Makes a text the content; rejects if it is refused. The signal takes it back, if it still can be. */
  save: (text: string, signal: AbortSignal) => Promise<unknown>;
  /** What is wrong with what there is. */
  error?: Pick<RopewalkError, "code" | "message" | "hint" | "path" | "details"> | undefined;
}

type Failure = NonNullable<Props["error"]>;

/** A text that somebody else may change at the same time. Ctrl+S saves. */
export function Editor({ id, label, text, rows, save, error }: Props) {
  const kept = draftOf(id);
  const draft = kept.value;
  const setDraft = (change: (d: Draft | undefined) => Draft | undefined): void => { kept.value = change(kept.peek()); };
  const [saving, setSaving] = useState<"" | "busy" | "saved">("");
  const [refused, setRefused] = useState<Failure>();
  const gutter = useRef<HTMLPreElement>(null);
  const latest = useRef(text);
  latest.current = text;
  const abort = useRef<AbortController>(undefined);
  const shown = draft?.text ?? text ?? "";
  const dirty = isDirty(draft, text);
  const overtaken = isOvertaken(draft, text);
  const wrong = refused ?? (dirty ? undefined : error);
  const line = wrong && lineOf(wrong.details);

  useEffect(() => setDraft((d) => arrived(d, text)), [text]);
  useEffect(() => {
    if (saving !== "saved") return undefined;
    const timer = setTimeout(() => setSaving(""), savedFor);
    return () => clearTimeout(timer);
  }, [saving]);

  const submit = (e: Event): void => {
    e.preventDefault();
    if (!dirty || saving === "busy") return;
    setSaving("busy");
    setRefused(undefined);
    const { signal } = abort.current = new AbortController();
    save(shown, signal).then(() => {
      if (signal.aborted) return;
      const now = latest.current;
      setDraft((d) => saved(d, shown, now, now !== text));
      setSaving("saved");
    }, (err: Failure) => {
      if (signal.aborted) return;
      setRefused(err);
      setSaving("");
    });
  };
  const undo = (): void => {
    abort.current?.abort(); // what is on its way, such as to a node that is not there, is not wanted either
    setDraft(() => undefined);
    setRefused(undefined);
    setSaving("");
  };
  const key = (e: KeyboardEvent): void => {
    if ((e.ctrlKey || e.metaKey) && (e.key === "s" || e.key === "Enter")) submit(e);
  };
  const lines = shown.split("\n").length;
  return (
    <form class="editor" id={id} onSubmit={submit}>
      <div class="code-area" data-dirty={dirty} data-wrong={wrong !== undefined}>
        {rows > 1 && (
          <pre class="gutter" ref={gutter} aria-hidden="true">
            {Array.from({ length: lines }, (_, i) => <span key={i} data-wrong={i + 1 === line}>{i + 1}{"\n"}</span>)}
          </pre>
        )}
        <textarea
          class="mono" rows={rows} wrap={rows > 1 ? "off" : "soft"} spellcheck={false} autocomplete="off" autocapitalize="off" aria-label={label}
          aria-invalid={wrong !== undefined} aria-describedby={wrong ? `${id}-wrong` : undefined} disabled={text === undefined && !draft}
          value={shown} onKeyDown={key}
          onInput={(e) => setDraft((d) => typed(d, e.currentTarget.value, text))}
          onScroll={(e) => { if (gutter.current) gutter.current.scrollTop = e.currentTarget.scrollTop; }}
        />
      </div>
      <div class="line between">
        <span class="note" role="status">
          {saving === "busy" ? (online.value ? "Saving …" : "It is saved when the node is back.") : overtaken ? "Somebody else has changed it meanwhile." : dirty ? "Not saved yet." : saving === "saved" ? (error ? "Saved." : "Saved; everybody has it.") : <span class="keys">Ctrl+S saves.</span>}
        </span>
        <span class="line">
          {dirty && (
            <button type="button" class="quiet text" onClick={undo}>
              {overtaken ? "Take theirs" : "Undo"}
            </button>
          )}
          <button type="submit" class="primary small" disabled={!dirty} aria-disabled={saving === "busy"}>
            {saving === "saved" ? <><Icon name="check" /> Saved</> : "Save"}
          </button>
        </span>
      </div>
      {wrong && <div id={`${id}-wrong`} role="alert"><Problem error={{ code: wrong.code, message: wrong.message, hint: wrong.hint, path: "" }} /></div>}
    </form>
  );
}

/** How long it is said that something was saved, in milliseconds. */
const savedFor = 2_000;
