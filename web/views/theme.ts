/**
 * Dark or light: by the visitor's system, until the button says otherwise.
 *
 * @module
 */

import { find } from "../dom.ts";

const KEY = "attune-theme";

/** Makes the button work, and takes over what it was set to before. */
export function themeSwitch(): void {
  const button = find("#theme"), root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const show = () => button.setAttribute("aria-pressed", String(isDark()));
  root.dataset.theme = localStorage.getItem(KEY) ?? undefined;
  if (localStorage.getItem(KEY) === null) delete root.dataset.theme;
  system.addEventListener("change", show);
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    localStorage.setItem(KEY, root.dataset.theme);
    show();
  });
  show();
}
