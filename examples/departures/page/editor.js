// The editor: the same flights, with buttons that change their delay. What it
// publishes changes a row of the database; this page follows as the boards do.
import { Rows, cells, follow, make, problem, rope } from "./common.js";

async function change(buttons, id, delay) {
  for (const b of buttons) b.disabled = true;
  try {
    problem();
    await rope.publish("query:/departures/delay.sql", { id, delay });
  } catch (error) {
    problem(error);
  }
  for (const b of buttons) b.disabled = b.dataset.done === "true";
}

const rows = new Rows((row, flight) => {
  cells(row, flight);
  row.dataset.id = flight.id;
  const buttons = [];
  const button = (label, delay, title) => {
    const b = make("button", label);
    Object.assign(b, { type: "button", title });
    b.onclick = () => change(buttons, flight.id, delay);
    buttons.push(b);
    return b;
  };
  const step = (n) => button(n > 0 ? `+${n}` : `−${-n}`, flight.delay + n, `${Math.abs(n)} minutes ${n > 0 ? "later" : "earlier"}`);
  const steps = make("div.steps", step(-5), step(5), step(15), step(60));
  const back = button("Reset", flight.recorded, `as recorded: ${flight.recorded} minutes`);
  back.className = "back";
  back.disabled = flight.delay === flight.recorded;
  back.dataset.done = String(back.disabled);
  steps.append(back);
  row.append(make("td", steps));
});

follow([["board", rows.show]]);
