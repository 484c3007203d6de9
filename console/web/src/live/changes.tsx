import { useEffect } from "preact/hooks";
import { clock } from "../model/format";
import { changes, follow } from "../state/changes";
import { app } from "./names";

const followed = [
  `json:/${app}/Resources/score.json`, `query:/${app}/Database/departures.sql`, `script:/${app}/Scripts/delays.ts`, `file:/${app}/Scripts/delays.ts`,
];

/** What has changed while one looked. */
export function ChangesCard() {
  useEffect(() => follow(followed), []);
  const list = changes.value;
  return (
    <section class="card grows" id="changes" aria-labelledby="changes-title">
      <h2 id="changes-title">What changed</h2>
      {list.length
        ? (
          <ol class="changes" tabIndex={0} aria-label="Changes, the newest first">
            {list.map((c) => (
              <li key={c.key} data-bad={c.bad}>
                <span class="line between"><span class="mono name" title={c.address}><i>{c.address.slice(0, c.address.indexOf(":") + 1)}</i>{c.address.slice(c.address.lastIndexOf("/") + 1)}</span><time class="mono">{clock(c.at)}</time></span>
                <span class="mono preview">{c.bad ? <code class="code">{c.text}</code> : c.text}</span>
              </li>
            ))}
          </ol>
        )
        : (
          <p class="about">
            Nothing yet. All of this is a few files in <code>content/{app}</code> of the project, and a table. Save one here, in another tab or in your
            own editor, or write from a terminal: whoever watches has it at once.
          </p>
        )}
    </section>
  );
}
