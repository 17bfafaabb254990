/**
 * What does the work, and the choice to use the graphics processor.
 *
 * @module
 */

import { IS_GPU } from "../assets.ts";
import { find, h } from "../dom.ts";

/** Says at the end of `place` what does the work. */
export function aboutEngines(place: Element): void {
  const workers = Math.min(navigator.hardwareConcurrency || 1, 8);
  const runtime = IS_GPU
    ? "Models run on the graphics processor, so bytes may differ from the command line's."
    : "Models run on WebAssembly, which gives the same bytes as the command line.";
  find("#engines").textContent =
    `Loaded. ${workers} worker${workers === 1 ? "" : "s"} do the work; they share no memory, so ` +
    `this page needs no special headers. ${runtime}`;
  if (!("gpu" in navigator) && !IS_GPU) return;
  const href = IS_GPU ? "./" : "./?webgpu";
  place.append(
    h(
      "p",
      { class: "soft" },
      h(
        "a",
        { href },
        IS_GPU ? "Run models on WebAssembly" : "Run models on the graphics processor",
      ),
      IS_GPU
        ? ": the page loads anew."
        : ": the page loads anew, with 27 MB more; bytes then are those of this machine.",
    ),
  );
}
