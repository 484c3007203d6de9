import { useEffect, useState } from "preact/hooks";
import { Icon } from "./icon";

/** How long it is said that something was copied, in milliseconds. */
const shown = 1_600;

/** Copies a text for the person. */
async function copy(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Browsers have no clipboard on pages that came by plain HTTP from another machine.
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  const ok = document.execCommand("copy");
  field.remove();
  if (!ok) throw new Error("the browser does not allow it");
}

/** A button that copies a text and says so. */
export function Copy({ text, label }: { text: string; label: string }) {
  const [said, say] = useState<"" | "copied" | "failed">("");
  useEffect(() => {
    if (!said) return undefined;
    const timer = setTimeout(() => say(""), shown);
    return () => clearTimeout(timer);
  }, [said]);
  const click = (): void => void copy(text).then(() => say("copied"), () => say("failed"));
  return (
    <button type="button" class="quiet copy" onClick={click} aria-label={label} title={label} data-said={said}>
      <Icon name={said === "copied" ? "check" : "copy"} />
      <span class="bubble" role="status">{said === "copied" ? "Copied" : said === "failed" ? "Not allowed; select and copy it" : ""}</span>
    </button>
  );
}
