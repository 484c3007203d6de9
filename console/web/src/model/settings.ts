/** A command line that starts another server. */
export interface Command {
  label: string;
  line: string;
}

/** What the program that serves this page tells it. */
export interface Settings {
  node: string;
  commands: Command[];
}

/** Reads the settings from the page, with {url} in commands replaced; what is not there has its default. */
export function settings(text: string, url: string): Settings {
  let given: Partial<Settings> = {};
  try {
    given = JSON.parse(text || "{}") as Partial<Settings>;
  } catch { /* the page as Vite serves it has none */ }
  const commands = given.commands?.length ? given.commands : [{ label: "ropewalk", line: "ropewalk hello --url {url}" }];
  return { node: given.node ?? "", commands: commands.map((c) => ({ label: c.label, line: c.line.replaceAll("{url}", url) })) };
}
