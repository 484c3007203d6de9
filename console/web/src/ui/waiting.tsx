import { online } from "../state/rope";

/** What is said of something that was asked for and is not there yet. */
export function Waiting() {
  return <span class="waiting">{online.value ? "Waiting for the answer" : "Waiting for the connection; it is sent then"}</span>;
}
