import { online } from "../state/rope";
import { useTopic } from "../state/topic";
import { ChangesCard } from "./changes";
import { ChartCard } from "./chart";
import { DeparturesCard } from "./departures";
import { app } from "./names";
import { ScoreCard } from "./score";
import { Setup } from "./setup";

/** Contents that live on the node, each with what changes it. */
export function LiveView() {
  const listing = useTopic<unknown>(`file:/${app}/`);
  const missing = listing.error?.code;
  return (
    <main id="main" class="board live" data-online={online.value} tabIndex={-1}>
      {missing === "no_service" || missing === "not_found" ? <Setup /> : (
        <>
          <div class="column"><ScoreCard /><ChangesCard /></div>
          <div class="column"><DeparturesCard /></div>
          <div class="column"><ChartCard /></div>
        </>
      )}
    </main>
  );
}
