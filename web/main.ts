/**
 * The page. It shows what its worker says and tells it what the visitor wants; all work is done
 * elsewhere.
 *
 * @module
 */

import { Page } from "./page.ts";
import { load } from "./assets.ts";
import { themeSwitch } from "./views/theme.ts";
import { find } from "./dom.ts";

themeSwitch();
try {
  const page = new Page(await load());
  await page.begin();
  // Whoever watches the page knows from here on that it asks for nothing more.
  document.documentElement.dataset.ready = "true";
} catch (error) {
  find("#engines").textContent = `This page could not be loaded: ${(error as Error).message}`;
}
