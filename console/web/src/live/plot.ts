import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Chart } from "../model/live";

const height = 190;
// What a label takes, in pixels.
const labelWidth = 48;
// The first series are bars, the others lines.
const colours = ["--accent", "--hemp", "--bad", "--good"];

/** Draws charts in an element, as wide as that is. It is a module of its own, because only one view needs it. */
export function plot(box: HTMLElement): { draw: (chart: Chart) => void; end: () => void } {
  let now: uPlot | undefined;
  let shape = "";
  let labels: readonly string[] = [];
  const resized = new ResizeObserver(() => now?.setSize({ width: box.clientWidth, height }));
  resized.observe(box);
  return {
    draw(chart) {
      labels = chart.labels;
      const data: uPlot.AlignedData = [labels.map((_, i) => i), ...chart.series.map((s) => labels.map((_, i) => s.values[i] ?? null))];
      const next = JSON.stringify(chart.series.map((s) => s.name));
      if (now && next === shape) return now.setData(data);
      now?.destroy();
      shape = next;
      now = new uPlot(options(box, chart, (i) => labels[i] ?? ""), data, box);
    },
    end() {
      resized.disconnect();
      now?.destroy();
    },
  };
}

function options(box: HTMLElement, chart: Chart, label: (i: number) => string): uPlot.Options {
  const style = getComputedStyle(box);
  // Computed, so that light-dark() is one colour.
  const colour = (name: string): string => {
    box.style.color = `var(${name})`;
    const c = getComputedStyle(box).color;
    box.style.color = "";
    return c;
  };
  const font = `12px ${style.fontFamily}`;
  const axis = { stroke: colour("--ink-3"), font, grid: { stroke: colour("--edge"), width: 1 }, ticks: { show: false } };
  return {
    width: box.clientWidth, height, padding: [8, 8, 0, 0],
    cursor: { points: { size: 7 }, drag: { x: false, y: false } },
    legend: { live: true, isolate: false },
    scales: { x: { time: false, range: (_, min, max) => [min - 0.6, max + 0.6] }, y: { range: (_, min, max) => [Math.min(0, min), Math.max(max * 1.12, 1)] } },
    axes: [
      { ...axis, grid: { show: false }, size: 30, splits: (u) => some(u.data[0].length, u.width / labelWidth), values: (_, at) => at.map((i) => label(i).split(" ")[0] ?? "") },
      { ...axis, size: 40 },
    ],
    series: [
      { label: "At", value: (_, i) => (i === null || i === undefined ? "" : label(i)) },
      ...chart.series.map((s, i): uPlot.Series => {
        const c = colour(colours[i % colours.length]!);
        return i === 0
          ? { label: s.name, stroke: c, fill: c, width: 0, points: { show: false }, paths: uPlot.paths.bars!({ size: [0.62, 44], radius: 0.18 }), value }
          : { label: s.name, stroke: c, width: 2, dash: [6, 4], points: { show: false }, value };
      }),
    ],
  };
}

/** Of the numbers below n at most so many, evenly. */
function some(n: number, most: number): number[] {
  const step = Math.max(1, Math.ceil(n / Math.max(most, 1)));
  return Array.from({ length: Math.ceil(n / step) }, (_, i) => i * step);
}

function value(_: uPlot, v: number | null): string {
  return v === null || v === undefined ? "–" : String(Math.round(v * 10) / 10);
}
