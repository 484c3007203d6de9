import { app } from "./names";

/** What to do where there is no content. */
export function Setup() {
  return (
    <section class="card setup" id="setup">
      <h2>This node has no live contents yet</h2>
      <p class="about">
        Start <code>ropewalk dev my-project</code> in a terminal: it makes a project with the directory <code>content/{app}</code>, in which there are a football
        score, a table and a chart. In a project that you have, make the directory <code>content</code>, and start the node again.
      </p>
    </section>
  );
}
