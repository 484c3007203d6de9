/** A command line that starts another server; {url} in it is the WebSocket URL of its node. */
export interface Command {
  label: string;
  line: string;
}

/** What the program that serves this page tells it. */
export interface Settings {
  node: string;
  commands: Command[];
  /** The command that starts another node; {cluster} in it is where that one joins. */
  join: string;
}

/** Reads the settings from the page; what is not there has its default. */
export function settings(text: string): Settings {
  let given: Partial<Settings> = {};
  try {
    given = JSON.parse(text || "{}") as Partial<Settings>;
  } catch { /* the page as Vite serves it has none */ }
  const commands = given.commands?.length ? given.commands : [{ label: "ropewalk", line: "ropewalk hello --url {url}" }];
  return {
    node: given.node ?? "",
    join: given.join || "ropewalk serve --join {cluster}",
    commands,
  };
}
