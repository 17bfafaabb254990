/**
 * What came of a job: figures, where the error comes from, what both models say, and the downloads.
 *
 * @module
 */

import { bytes, duration, percent } from "../../src/report/format.ts";
import { outputName } from "../names.ts";
import { fill, h } from "../dom.ts";
import type { NamedFile, Outcome } from "../messages.ts";
import { growthPlot } from "./growth.ts";
import { layerTable } from "./layers.ts";
import { predictionList } from "./predictions.ts";

/** Shows `outcome` in `place`; `files` are the samples that predictions are of. */
export function showResult(
  place: Element,
  outcome: Outcome,
  files: readonly NamedFile[],
): void {
  const { report, predictions } = outcome;
  fill(
    place,
    figures(outcome),
    report.warnings.length > 0 &&
      h(
        "ul",
        { class: "warnings", "aria-label": "Warnings" },
        ...report.warnings.map((warning) => h("li", {}, `${warning}.`)),
      ),
    downloads(outcome),
    h("h3", {}, "Error from input to output"),
    h(
      "p",
      { class: "soft" },
      "Squared error of each layer's output on calibration data, relative to that output: what it " +
        "adds, and what it takes over from the layers before it.",
    ),
    growthPlot(report),
    h("h3", {}, "Layers"),
    layerTable(report.layers),
    predictions.length > 0 && h("h3", {}, "Predictions, worst first"),
    predictions.length > 0 && predictionList(outcome, files),
  );
}

function figures({ size, evaluation, report, seconds, seen, predictions }: Outcome): HTMLElement {
  const figure = (name: string, value: string, note: string) =>
    h(
      "div",
      {},
      h("dt", {}, name),
      h("dd", { class: "value" }, value),
      h("dd", { class: "soft small" }, note),
    );
  const { agreement, interval, mse, top1, reference, samples } = evaluation;
  const isClasses = predictions[0]?.float.length > 0;
  const of = `${samples} ${seen ? "samples that calibration used, too" : "other samples"}`;
  const range = ([low, high]: readonly [number, number]) =>
    `${low.toFixed(0)} to ${high.toFixed(0)} %`;
  return h(
    "dl",
    { class: "figures" },
    figure(
      "File",
      bytes(size.after),
      `from ${bytes(size.before)}, ${(size.before / size.after).toFixed(1)} × smaller`,
    ),
    isClasses &&
      figure(
        "Same answer as float",
        `${agreement.toFixed(1)} %`,
        `of ${of}; 95 % interval ${range(interval.agreement)}`,
      ),
    top1 !== null &&
      figure("Right answers", `${top1.toFixed(1)} %`, `float ${reference.top1!.toFixed(1)} %`),
    figure("Output error", percent(mse), `squared, relative to float, on ${of}`),
    figure(
      "Time",
      duration(seconds),
      `${report.samples.calibration} samples, ${report.samples.heldOut} held out`,
    ),
  );
}

function downloads({ model, page, report, command, snippet }: Outcome): HTMLElement {
  const name = outputName(report.model);
  const link = (text: string, blob: Blob, name: string, kind: string) =>
    h("a", { class: kind, href: URL.createObjectURL(blob), download: name }, text);
  const script = new Blob([snippet], { type: "text/javascript" });
  return h(
    "div",
    { class: "downloads" },
    h(
      "div",
      { class: "buttons" },
      link("Download the model", model, name, "button primary"),
      link("Report", page, name.replace(/\.onnx$/, ".html"), "button"),
      link("Script", script, name.replace(/\.q\.onnx$/, ".js"), "button"),
    ),
    text("A script that runs it in a page", snippet, "snippet"),
    text("The command that repeats it", command, "command"),
  );
}

/** A text to copy. */
function text(title: string, content: string, id: string): HTMLElement {
  const copied = h("span", { class: "soft small", role: "status" });
  return h(
    "details",
    { class: "more", open: id === "command" },
    h("summary", {}, title),
    h(
      "div",
      { class: "copy" },
      h("pre", { tabindex: 0, "aria-label": title }, h("code", { id }, content)),
      h("button", {
        type: "button",
        class: "quiet small",
        "aria-label": `Copy: ${title}`,
        click: async () => {
          await navigator.clipboard.writeText(content);
          copied.textContent = "Copied";
        },
      }, "Copy"),
      copied,
    ),
  );
}
