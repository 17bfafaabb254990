/**
 * What came of a job: figures, where the error comes from, what both models say, and the downloads.
 *
 * @module
 */

import { bytes, duration, percent } from "../../src/report/format.ts";
import { outputName } from "../names.ts";
import { append, type Child, figure, fill, h } from "../dom.ts";
import type { NamedFile, Outcome } from "../messages.ts";
import { growthPlot } from "./growth.ts";
import { layerTable } from "./layers.ts";
import { predictionList } from "./predictions.ts";

/** A percentage of answers is told of so many samples; of fewer it says more than is known. */
const FEWEST = 32;

/**
 * Shows `outcome` in `place`; `files` are the samples that predictions are of. Part by part, so
 * that the page answers in between.
 */
export async function showResult(
  place: Element,
  outcome: Outcome,
  files: readonly NamedFile[],
): Promise<void> {
  const { report, predictions, growth } = outcome, { warnings, layers } = report;
  const parts: readonly (() => Child)[] = [
    () => figures(outcome),
    () =>
      warnings.length > 0 && h(
        "ul",
        { class: "warnings", "aria-label": "Warnings" },
        ...warnings.map((warning) => h("li", {}, `${warning}.`)),
      ),
    () => downloads(outcome),
    () =>
      growth.length > 0 && [
        h("h3", {}, "Error from input to output"),
        h(
          "p",
          { class: "soft" },
          "How far the quantized model is from the float one at the output of each layer: squared " +
            "error, relative to the float model's, on the first samples.",
        ),
        growthPlot(growth),
      ],
    () => [
      h("h3", {}, "Layers"),
      h(
        "p",
        { class: "soft" },
        "What rounding its weights costs each layer, on calibration data, relative to its output.",
      ),
      layerTable(layers),
    ],
    () =>
      predictions.length > 0 &&
      [h("h3", {}, "Predictions, worst first"), predictionList(outcome, files)],
  ];
  fill(place);
  for (const part of parts) {
    append(place, part());
    await new Promise((resolve) => setTimeout(resolve));
  }
}

function figures({ size, evaluation, report, seconds, seen, predictions }: Outcome): HTMLElement {
  const { agreement, interval, mse, top1, reference, samples } = evaluation;
  const isClasses = predictions[0]?.float.length > 0;
  const of = `${samples} ${seen ? "samples that calibration used, too" : "other samples"}`;
  const [low, high] = interval.agreement;
  const range = low === high || samples < FEWEST
    ? ""
    : `; 95 % interval ${low.toFixed(0)} to ${high.toFixed(0)} %`;
  const told = (percent: number) =>
    samples < FEWEST
      ? `${Math.round(samples * percent / 100)} of ${samples}`
      : `${percent.toFixed(1)} %`;
  return h(
    "dl",
    { class: "figures" },
    figure(
      "File",
      bytes(size.after),
      `from ${bytes(size.before)}, ${(size.before / size.after).toFixed(1)} × smaller`,
    ),
    isClasses && figure("Same answer as float", told(agreement), `of ${of}${range}`),
    top1 !== null && figure("Right answers", told(top1), `float ${told(reference.top1!)}`),
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
      link(
        "Report as JSON",
        new Blob([JSON.stringify(report)]),
        name.replace(/\.onnx$/, ".json"),
        "button",
      ),
      link("Script", script, name.replace(/\.q\.onnx$/, ".js"), "button"),
    ),
    text("A script that runs it in a page", snippet, "snippet"),
    // Words stay whole, wherever lines end.
    text(
      "The command that repeats it",
      command,
      "command",
      (content) =>
        content.split(" ").map((word, i) => [i > 0 && " ", h("span", { class: "nowrap" }, word)]),
    ),
  );
}

/** A text to copy. */
function text(
  title: string,
  content: string,
  id: string,
  render: (content: string) => Child = (content) => content,
): HTMLElement {
  const copied = h("span", { class: "soft small", role: "status" });
  return h(
    "details",
    { class: "more", open: id === "command" },
    h("summary", {}, title),
    h(
      "div",
      { class: "copy" },
      h("pre", { tabindex: 0, "aria-label": title }, h("code", { id }, render(content))),
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
