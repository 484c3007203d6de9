// What both pages have: the connection, the filters, and rows that follow.
import { connect } from "./ropewalk.min.js";

export const rope = connect();
export const at = (id) => document.getElementById(id);

/** Makes an element: make("td.time", text, …). */
export function make(what, ...inside) {
  const [tag, name] = what.split(".");
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.append(...inside);
  return element;
}

export const problem = (error) => { at("problem").textContent = error ? `${error.message}. ${error.hint ?? ""}` : ""; };

const line = () => {
  at("line").dataset.state = rope.state;
  at("line").textContent = rope.state === "connected" ? "live" : rope.state;
};
rope.on("state", line);
line();

const form = at("filters");

/** What the queries are filtered by: only what differs from their defaults. */
function params() {
  const { origin, date, search, late } = form.elements;
  return {
    ...(origin.value && { origin: origin.value }),
    ...(date.value && { date: date.value }),
    ...(search.value.trim() && { search: search.value.trim() }),
    ...(late.checked && { late: true }),
  };
}

/** Watches queries with the filters: again with others when these change. */
export function follow(queries) {
  const asked = new URLSearchParams(location.search);
  form.elements.date.value = asked.has("date") ? asked.get("date") : asked.size ? "" : "2001-01-03";
  form.elements.search.value = asked.get("search") ?? "";
  form.elements.late.checked = asked.has("late");
  let origin = asked.get("origin") ?? "";
  let watches = [];
  const start = () => {
    for (const watch of watches) watch.close();
    const now = { ...params(), ...(origin && { origin }) };
    document.body.classList.toggle("day", "date" in now);
    history.replaceState(null, "", Object.keys(now).length ? `?${new URLSearchParams(now)}` : "?all");
    at("other").search = location.search;
    problem();
    watches = queries.map(([name, show]) => {
      let first = true;
      return rope.watch(`query:/departures/${name}.sql`, { params: now, delta: true, linger: 1000, onError: problem }, ({ content }) => {
        problem();
        show(content, first);
        first = false;
      });
    });
  };
  form.addEventListener("input", () => {
    origin = form.elements.origin.value;
    clearTimeout(form.pause);
    form.pause = setTimeout(start, 150); // not for each letter
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  rope.watch("query:/departures/airports.sql", { onError: problem }, ({ content }) => {
    const select = form.elements.origin;
    select.replaceChildren(select.options[0], ...content.map((a) => new Option(`${a.city}, ${a.state} (${a.iata})`, a.iata)));
    select.value = origin;
  });
  start();
}

const pad = (n) => String(n).padStart(2, "0");
const clock = (date) => `${pad(date.getUTCHours())}:${pad(date.getUTCMinutes())}`;

/** Words for a flight. */
export function words(flight) {
  const when = new Date(flight.scheduled.replace(" ", "T") + "Z");
  const { delay } = flight;
  return {
    time: clock(when),
    day: flight.scheduled.slice(0, 10),
    expected: clock(new Date(when.getTime() + delay * 60_000)),
    late: delay >= 15,
    status: delay >= 15 ? `Delayed ${delay}\u00a0min` : delay < 0 ? `Early ${-delay}\u00a0min` : delay ? `On time (+${delay}\u00a0min)` : "On time",
  };
}

/** Makes the cells of a flight that both pages have the first ones of a row. */
export function cells(row, flight, ...more) {
  const { time, day, expected, late, status } = words(flight);
  const place = (city, code) => [make("b", city.replaceAll("/", "/\u200b")), make("span.code", code)]; // may break there
  row.classList.toggle("late", late);
  row.classList.toggle("changed", flight.delay !== flight.recorded);
  const made = [
    make("td.time", time, make("small", day)),
    make("td", ...place(flight.destination_city, flight.destination), make("small.narrow", `from ${flight.origin_city}`)),
    make("td.wide", flight.origin_city, make("span.code", flight.origin)),
    ...more,
    make("td.expected", expected),
    make("td.status", status),
  ];
  made.forEach((cell, i) => { row.cells[i] ? row.cells[i].replaceWith(cell) : row.append(cell); });
}

const most = 300; // as board.sql says

/** Keeps a row for each flight; those that have changed flash. */
export class Rows {
  #rows = new Map();
  #fill;

  constructor(fill) { this.#fill = fill; }

  show = (flights, first) => {
    const old = this.#rows;
    this.#rows = new Map();
    for (const flight of flights) {
      let entry = old.get(flight.id);
      if (!entry) entry = { row: make("tr") };
      if (entry.flight !== flight) { // what has not changed is the same object as before
        const flash = !first && (!entry.flight || entry.flight.delay !== flight.delay);
        this.#fill(entry.row, flight);
        if (flash) {
          entry.row.classList.remove("flash");
          void entry.row.offsetWidth; // so that it begins anew
          entry.row.classList.add("flash");
        }
      }
      this.#rows.set(flight.id, { ...entry, flight });
    }
    for (const [id, { row }] of old) if (!this.#rows.has(id)) row.remove();
    // What is in its place stays there: to move it would take the focus from it.
    const body = at("rows");
    let i = 0;
    for (const { row } of this.#rows.values()) {
      if (body.rows[i] !== row) body.insertBefore(row, body.rows[i] ?? null);
      i++;
    }
    at("empty").hidden = flights.length > 0;
    at("more").hidden = flights.length < most;
  };
}
