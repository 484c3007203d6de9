// The editor: the same flights, with buttons that change their delay. What it
// publishes changes a row of the database; this page follows as the boards do.
import { Rows, cells, follow, make, problem, rope, words } from "./common.js";

async function change(row, id, delay) {
  if (row.ariaBusy === "true") return;
  row.ariaBusy = "true";
  try {
    problem();
    await rope.publish("query:/departures/delay.sql", { id, delay });
  } catch (error) {
    problem(error);
  }
  row.ariaBusy = "false";
}

/** A button that makes the delay of a flight another one. */
function button(row, label, title, delay) {
  const b = make("button", label);
  b.type = "button";
  b.onclick = () => { if (b.ariaDisabled !== "true") change(row, row.flight.id, delay(row.flight)); };
  b.refresh = (flight) => {
    const { time } = words(flight);
    b.title = title(flight);
    b.ariaLabel = `${label}: ${b.title}; ${time} to ${flight.destination_city}`;
  };
  return b;
}

function buttons(row) {
  const step = (n) => button(row, n > 0 ? `+${n}` : `−${-n}`, () => `${Math.abs(n)} minutes ${n > 0 ? "later" : "earlier"}`, (f) => f.delay + n);
  const back = button(row, "Reset", (f) => `as recorded: ${f.recorded} minutes`, (f) => f.recorded);
  back.className = "back";
  return [...[-5, 5, 15, 60].map(step), back];
}

const rows = new Rows((row, flight) => {
  row.flight = flight;
  row.dataset.id = flight.id;
  cells(row, flight);
  // The buttons stay the same ones, so that they keep the keyboard's focus.
  if (!row.querySelector(".steps")) row.append(make("td.change", make("div.steps", ...buttons(row))));
  for (const b of row.querySelectorAll("button")) b.refresh(flight);
  row.querySelector(".back").ariaDisabled = String(flight.delay === flight.recorded);
});

follow([["board", rows.show]]);
