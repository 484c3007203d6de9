import { mathServers, reportServers } from "../state/world";
import { Who } from "./who";

/** A server: the node itself is named so. */
export function Server({ id }: { id: string }) {
  const known = [...mathServers.value, ...reportServers.value].find((s) => s.id === id);
  return <Who id={id} name={known?.local ? "this node" : undefined} />;
}
