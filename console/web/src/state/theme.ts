import { effect, signal } from "@preact/signals";

/** What a person can choose; auto follows the system. */
export const themes = ["auto", "light", "dark"] as const;
export type Theme = (typeof themes)[number];

const storageKey = "ropewalk theme";

function stored(): Theme {
  try {
    return themes.find((t) => t === localStorage.getItem(storageKey)) ?? "auto";
  } catch { // storage is forbidden
    return "auto";
  }
}

export const theme = signal<Theme>(stored());

effect(() => {
  document.documentElement.dataset["theme"] = theme.value;
  try {
    localStorage.setItem(storageKey, theme.value);
  } catch { /* then it is forgotten */ }
});
