/**
 * What the float model and the quantized one say of the visitor's own samples.
 *
 * @module
 */

import { percent } from "../../src/report/format.ts";
import { h } from "../dom.ts";
import type { NamedFile, Outcome, Prediction, Score } from "../messages.ts";

/** Samples that are shown at first, and with each press of the button. */
const STEP = 24;

/** The predictions of `outcome`, worst first; `files` are the samples. */
export function predictionList(
  { predictions, classes }: Outcome,
  files: readonly NamedFile[],
): HTMLElement {
  const byPath = new Map(files.map(({ path, file }) => [path, file]));
  const list = h("ol", { class: "predictions" });
  const different = predictions.filter((each) => !isSame(each)).length;
  const more = h("button", { type: "button", class: "quiet", click: () => show() }, "Show more");
  let shown = 0;
  const show = () => {
    const next = predictions.slice(shown, shown + STEP);
    list.append(...next.map((each) => card(each, classes, byPath.get(each.source))));
    shown += next.length;
    more.hidden = shown >= predictions.length;
  };
  show();
  const isClasses = predictions[0].float.length > 0;
  return h(
    "div",
    {},
    h(
      "p",
      { class: "soft" },
      isClasses
        ? `${different} of ${predictions.length} get another answer than from the float model.`
        : "The output is no list of classes, so its error is what is told.",
    ),
    list,
    more,
  );
}

function isSame({ float, quantized }: Prediction): boolean {
  return float[0]?.label === quantized[0]?.label;
}

function card(
  prediction: Prediction,
  classes: readonly string[],
  file: Blob | undefined,
): HTMLElement {
  const { source, label, error, float, quantized } = prediction;
  const nameOf = (label: number) => classes[label] ?? `class ${label}`;
  return h(
    "li",
    { class: isSame(prediction) ? "prediction" : "prediction other" },
    file !== undefined && picture(file),
    h(
      "div",
      { class: "about" },
      h("p", { class: "name" }, source),
      h(
        "p",
        { class: "soft small" },
        label === undefined ? "" : `is ${nameOf(label)}; `,
        `error ${percent(error)}`,
      ),
    ),
    float.length > 0 &&
      h(
        "div",
        { class: "sides" },
        scores("Float", float, label, nameOf),
        scores("Quantized", quantized, label, nameOf),
      ),
  );
}

function picture(file: Blob): HTMLElement {
  const url = URL.createObjectURL(file), gone = () => URL.revokeObjectURL(url);
  const image = h("img", { src: url, alt: "", loading: "lazy", load: gone });
  image.addEventListener("error", () => {
    gone();
    // Arrays are no pictures.
    image.remove();
  });
  return image;
}

function scores(
  title: string,
  list: readonly Score[],
  right: number | undefined,
  nameOf: (label: number) => string,
): HTMLElement {
  return h(
    "div",
    {},
    h("h4", {}, title),
    h(
      "ol",
      { class: "scores" },
      ...list.map(({ label, share }) => {
        const bar = h("span", { class: "share", "aria-hidden": "true" });
        bar.style.setProperty("--share", String(share));
        return h(
          "li",
          { class: label === right ? "right" : undefined },
          h("span", { class: "class" }, nameOf(label), label === right && " ✓"),
          bar,
          h("span", { class: "number small" }, `${(100 * share).toFixed(0)} %`),
        );
      }),
    ),
  );
}
