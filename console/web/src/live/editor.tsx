import type { RopewalkError } from "@ropewalk/client";
import { useEffect, useRef, useState } from "preact/hooks";
import { lineOf } from "../model/live";
import { Icon } from "../ui/icon";
import { Problem } from "../ui/problem";

interface Props {
  id: string;
  label: string;
  /** What there is now; undefined: it is not known yet. */
  text: string | undefined;
  /** How many lines are shown. */
  rows: number;
  /** Makes a text the content; rejects if it is refused. */
  save: (text: string) => Promise<unknown>;
  /** What is wrong with what there is. */
  error?: Pick<RopewalkError, "code" | "message" | "hint" | "path" | "details"> | undefined;
}

type Failure = NonNullable<Props["error"]>;

/** A text that somebody else may change at the same time. Ctrl+S saves. */
export function Editor({ id, label, text, rows, save, error }: Props) {
  const [draft, setDraft] = useState<{ text: string; from: string | undefined }>();
  const [saving, setSaving] = useState<"" | "busy" | "saved">("");
  const [refused, setRefused] = useState<Failure>();
  const gutter = useRef<HTMLPreElement>(null);
  const shown = draft?.text ?? text ?? "";
  const dirty = draft !== undefined && draft.text !== text;
  const overtaken = dirty && text !== undefined && draft.from !== text;
  const wrong = refused ?? (dirty ? undefined : error);
  const line = wrong && lineOf(wrong.details);

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
    save(draft.text).then(() => {
      setDraft(undefined);
      setSaving("saved");
    }, (err: Failure) => {
      setRefused(err);
      setSaving("");
    });
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
          onInput={(e) => setDraft({ text: e.currentTarget.value, from: draft?.from ?? text })}
          onScroll={(e) => { if (gutter.current) gutter.current.scrollTop = e.currentTarget.scrollTop; }}
        />
      </div>
      <div class="line between">
        <span class="note" role="status">
          {overtaken ? "Somebody else has changed it meanwhile." : dirty ? "Not saved yet." : saving === "saved" ? (error ? "Saved." : "Saved; everybody has it.") : <span class="keys">Ctrl+S saves.</span>}
        </span>
        <span class="line">
          {dirty && (
            <button type="button" class="quiet text" onClick={() => { setDraft(undefined); setRefused(undefined); }}>
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
