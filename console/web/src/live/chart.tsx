import { bytes, type Bytes, type RopewalkError } from "@ropewalk/client";
import { useEffect, useRef } from "preact/hooks";
import { readChart, type Chart } from "../model/live";
import { rope } from "../state/rope";
import { theme } from "../state/theme";
import { useTopic } from "../state/topic";
import { Card } from "../ui/card";
import { About } from "./about";
import { Editor } from "./editor";
import { app } from "./names";

const path = `/${app}/Scripts/delays.ts`;
const decoder = new TextDecoder();

/** A chart of what a script gives. */
export function ChartCard() {
  const result = useTopic<unknown>(`script:${path}`);
  const source = useTopic<Bytes>(`file:${path}`);
  const read = result.update && readChart(result.update.content);
  const wrong = result.error ?? source.error ?? (typeof read === "string" ? odd(read) : undefined);
  const text = source.update?.content && decoder.decode(source.update.content);
  return (
    <Card id="chart" title="Chart" about={<About address={`script:${path}`} topic={{ ...result, error: wrong as RopewalkError | undefined }} />} grows>
      <Plot chart={typeof read === "object" ? read : undefined} stale={!result.live || wrong !== undefined} />
      <Editor id="script-editor" label="The script delays.ts" text={text ?? (source.error ? "" : undefined)} rows={14} error={wrong}
        save={(s, signal) => rope.publish(`file:${path}`, bytes(s, "text/plain; charset=utf-8"), { signal })} />
    </Card>
  );
}

function odd(what: string): Pick<RopewalkError, "code" | "message" | "hint" | "path" | "details"> {
  return {
    code: "bad_content", message: `the result of the script is no chart: ${what}`, path: "", details: undefined,
    hint: 'Return {title, labels: ["a", …], series: [{name, values: [1, …]}]}.',
  };
}

function Plot({ chart, stale }: { chart: Chart | undefined; stale: boolean }) {
  const box = useRef<HTMLDivElement>(null);
  const draw = useRef<((chart: Chart) => void) | undefined>(undefined);
  const latest = useRef(chart);
  latest.current = chart;
  const colours = theme.value;
  useEffect(() => {
    let over = false;
    let end = (): void => {};
    void import("./plot").then(({ plot }) => {
      if (over || !box.current) return;
      const p = plot(box.current);
      draw.current = p.draw;
      end = p.end;
      if (latest.current) p.draw(latest.current);
    });
    return () => {
      over = true;
      draw.current = undefined;
      end();
    };
  }, [colours]);
  useEffect(() => {
    if (chart) draw.current?.(chart);
  }, [chart]);
  return (
    <figure class="plot" data-stale={stale} data-points={chart?.labels.length ?? 0} data-title={chart?.title}>
      <figcaption>{chart?.title ?? (stale && "No chart yet.")}</figcaption>
      <div class="canvas" ref={box} role="img" aria-label={chart && `${chart.title}: ${chart.series.map((s) => `${s.name} ${s.values.join(", ")}`).join("; ")}`} />
    </figure>
  );
}
