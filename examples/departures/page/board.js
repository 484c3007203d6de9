// The board: a table, a chart and three figures, which follow the database.
import { Rows, at, cells, follow, make } from "./common.js";

const rows = new Rows((row, flight) => cells(row, flight, make("td.wide", flight.distance.toLocaleString("en"))));

const svg = (tag, attributes, text) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text) element.append(text);
  return element;
};

let drawn = [];

/** Draws a bar an hour: all flights, and those that are late at its foot. */
function chart(hours) {
  drawn = hours;
  const { clientWidth: width, clientHeight: height } = at("chart");
  const foot = 18, step = width / 24, gap = step > 20 ? 3 : 1;
  const most = Math.max(1, ...hours.map((h) => h.flights));
  const y = (n) => ((height - foot - 14) * n) / most;
  const bar = (hour, n, name, title) => {
    const rect = svg("rect", { x: hour * step + gap, width: step - 2 * gap, y: height - foot - y(n), height: y(n), rx: 2, class: name });
    rect.append(svg("title", {}, title));
    return rect;
  };
  const parts = [svg("line", { x1: 0, x2: width, y1: height - foot, y2: height - foot })];
  for (let hour = 0; hour < 24; hour += step > 20 ? 3 : 6) parts.push(svg("text", { x: (hour + 0.5) * step, y: height - 4 }, `${hour}:00`));
  for (const h of hours) {
    const title = `${h.hour}:00 – ${h.flights} flights, ${h.late} late`;
    parts.push(bar(h.hour, h.flights, "on", title), bar(h.hour, h.late, "late", title));
    if (step > 20) parts.push(svg("text", { x: (h.hour + 0.5) * step, y: height - foot - y(h.flights) - 4 }, String(h.flights)));
  }
  at("chart").setAttribute("viewBox", `0 0 ${width} ${height}`);
  at("chart").setAttribute("aria-label", hours.map((h) => `${h.hour}:00: ${h.flights} flights, ${h.late} late`).join("; "));
  at("chart").replaceChildren(...parts);
}
new ResizeObserver(() => chart(drawn)).observe(at("chart"));

function hours(list) {
  const sum = (name) => list.reduce((n, h) => n + h[name], 0);
  const all = sum("flights");
  at("count").textContent = all.toLocaleString("en");
  at("punctual").textContent = all ? `${Math.round(100 * (1 - sum("late") / all))} %` : "–";
  at("mean").textContent = all ? `${(sum("minutes") / all).toFixed(1)} min` : "–";
  chart(list);
}

follow([["board", rows.show], ["hours", hours]]);
