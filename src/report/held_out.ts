/**
 * Held-out samples on the report's page: accuracy, every output, and the samples that come out
 * worst.
 *
 * @module
 */

import type { Interval } from "../evaluate/interval.ts";
import type { OutputEvaluation } from "../evaluate/output_comparison.ts";
import { bytes, percent } from "./format.ts";
import type { HeldOutReport, SampleReport } from "./held_out_report.ts";
import { type Markup, markup } from "./markup.ts";
import { figure, tableOf } from "./page.ts";
import type { Report } from "./report.ts";

/** Held-out samples below which a share of them is no headline: 31 of 32 may as well be 84 %. */
export const LEAST_FOR_PERCENT = 32;

/** The accuracy of both models as a figure, where samples have labels. */
export function accuracyFigure(heldOut: HeldOutReport | undefined, samples: number) {
  if (heldOut?.accuracy === undefined) return undefined;
  const { float, quantized, change } = heldOut.accuracy;
  if (samples < LEAST_FOR_PERCENT) {
    const count = (share: number) => Math.round(share * samples / 100);
    return figure(
      "Right answers",
      `${count(quantized)} of ${samples}`,
      `float ${count(float)}: too few samples for a percentage`,
    );
  }
  return figure(
    "Top-1 accuracy",
    `${quantized.toFixed(1)} %`,
    `float ${float.toFixed(1)} %; change ${span(change, 1)} points`,
  );
}

/** How many samples have the float model's answer, as a figure. */
export function agreementFigure(
  agreement: number,
  samples: number,
  interval: Interval | undefined,
): Markup {
  const note = interval && `95 % interval ${span(interval, 1)} %; `;
  return samples < LEAST_FOR_PERCENT
    ? figure(
      "Same answer as float",
      `${Math.round(agreement * samples / 100)} of ${samples}`,
      "held-out samples: too few for a percentage",
    )
    : figure(
      "Same answer as float",
      `${agreement.toFixed(1)} %`,
      [note, `of ${samples} held-out samples`],
    );
}

/** Both ends of an interval, signs and all. */
export function span(interval: Interval, digits: number, factor = 1): string {
  return interval.map((end) => (factor * end).toFixed(digits).replace("-", "\u2212")).join(" … ");
}

/** Every output of the written model, where there are several. */
export function outputs({ check }: Report): Markup | undefined {
  if (check === null || check.outputs.length < 2) return undefined;
  const rows = check.outputs.map(({ name, mseToFloat, mseToSimulation, evaluation }) => [
    name,
    { content: percent(mseToFloat), by: mseToFloat },
    { content: percent(mseToSimulation), by: mseToSimulation },
    evaluation && figuresOf(evaluation),
  ]);
  return markup`<section>
<h2>Outputs</h2>
<p class="soft">Squared error of each output on held-out samples, relative to it, from the float model
 and from the simulation that calibration went by.</p>
${
    tableOf("Outputs", [
      { head: "Output", kind: "name", sorts: "text" },
      { head: "From float", kind: "number", sorts: "number" },
      { head: "From simulation", kind: "number", sorts: "number" },
      { head: "By what suits it", kind: "soft" },
    ], rows)
  }
</section>`;
}

/** An output by what suits it. */
function figuresOf(output: OutputEvaluation): string {
  if (output.kind === "integers") return `${output.equal.toFixed(1)} % equal`;
  const { sqnr, cosine: { mean, least }, samples } = output;
  const noise = sqnr === null ? "" : `${sqnr.toFixed(1)} dB, `;
  const answers = output.kind === "scores" && samples >= LEAST_FOR_PERCENT
    ? `, ${output.agreement.toFixed(1)} % the same answer`
    : "";
  return `${noise}cosine ${mean.toFixed(4)}, at least ${least.toFixed(4)}${answers}`;
}

/** What each width of nested grids comes to. */
export function nestedWidths(nested: Report["nested"]): Markup | undefined {
  if (nested === undefined || nested.length === 0) return undefined;
  const rows = nested.map(({ bits, bytes: size, mse, agreement }) => [
    bits,
    { content: bytes(size), by: size },
    mse === null ? "–" : percent(mse),
    agreement === null ? "–" : `${agreement.toFixed(1)} %`,
    markup`<code>cut(model, ${bits})</code>`,
  ]);
  return markup`<section>
<h2>Widths in this file</h2>
<p class="soft">Models of fewer bits can be cut from the file without samples, by attune’s cut; output error and answers
 are on held-out samples.</p>
${
    tableOf("Widths in this file", [
      { head: "Bits", kind: "number", sorts: "number" },
      { head: "File", kind: "number", sorts: "number" },
      { head: "Output error", kind: "number" },
      { head: "Same answer", kind: "number" },
      { head: "Cut by", kind: "soft" },
    ], rows)
  }
</section>`;
}

/** The samples that come out worst, with pictures where they are images. */
export function worstSamples(heldOut: HeldOutReport | undefined): Markup | undefined {
  if (heldOut === undefined || heldOut.worst.length === 0) return undefined;
  return markup`<section>
<h2>Worst samples</h2>
<p class="soft">The held-out samples whose output is furthest from the float model’s. Pictures are made
 of what the model is given, stretched from the darkest value to the brightest.</p>
<ol class="samples">
${heldOut.worst.map(sample)}</ol>
</section>`;
}

function sample({ source, index, error, answers, label, thumbnail }: SampleReport): Markup {
  const isPicture = thumbnail !== undefined &&
    /^data:image\/bmp;base64,[A-Za-z0-9+/]+=*$/.test(thumbnail);
  const picture = isPicture
    ? markup`<img src="${thumbnail}" width="64" height="64" alt="Sample ${index}: ${source}">`
    : undefined;
  const said = answers === undefined
    ? undefined
    : answers.float === answers.quantized
    ? `both say ${answers.float}`
    : `float says ${answers.float}, quantized ${answers.quantized}`;
  const changed = answers !== undefined && answers.float !== answers.quantized ? "worse" : "";
  return markup`<li>${picture}<div><div class="name">${source}</div>
<div>error ${percent(error)}</div><div class="small ${changed || "soft"}">${said}</div>
<div class="small soft">${label === undefined ? undefined : `labelled ${label}`}</div></div></li>
`;
}
