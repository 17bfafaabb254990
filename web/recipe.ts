/**
 * What repeats a job elsewhere: the options of the library, the command, and a script that runs
 * what came of it.
 *
 * @module
 */

import type { QuantizeOptions } from "../src/quantize/options.ts";
import type { RoundingMethod } from "../src/round/methods.ts";
import type { InputSpec } from "../src/onnx/inputs.ts";
import { type PreprocessOptions, resolvePreprocess } from "../src/samples/preprocess.ts";
import { DEFAULTS, type JobOptions } from "./messages.ts";
import { outputName } from "./names.ts";
import { overridesOf } from "./plan_view.ts";

/** Rounding by effort, with the flags that ask for it. */
const EFFORTS: Readonly<
  Record<JobOptions["effort"], { readonly rounding: RoundingMethod; readonly flags: string }>
> = {
  fast: { rounding: { kind: "nearest" }, flags: "--rounding nearest" },
  usual: { rounding: { kind: "attention" }, flags: "" },
  thorough: { rounding: { kind: "attention", candidates: 64 }, flags: "--candidates 64" },
};

/** How images become inputs. */
export function preprocessOf({ preset, resize }: JobOptions): PreprocessOptions {
  return { preset, resize: resize ? undefined : "none" };
}

/** The options of `quantize`. */
export function quantizeOptionsOf({ effort, seed }: JobOptions): QuantizeOptions {
  return { rounding: EFFORTS[effort].rounding, seed };
}

/** The command that gives the same file of the same samples, which lie at `data`. */
export function commandOf(model: string, data: string, options: JobOptions): string {
  const { bits, activationBits, format, effort, seed, preset, resize } = options;
  const flags = [
    `--bits ${bits}`,
    activationBits !== DEFAULTS.activationBits && `--activation-bits ${activationBits}`,
    ...overridesOf(options).map(({ pattern, bits }) =>
      `--override ${quoted(`${pattern}=${bits}`)}`
    ),
    format !== DEFAULTS.format && `--format ${format}`,
    EFFORTS[effort].flags,
    preset !== DEFAULTS.preset && `--preprocess ${preset}`,
    !resize && "--resize none",
    `--seed ${seed}`,
    `-o ${quoted(outputName(model))}`,
  ];
  return ["npx attune", quoted(model), `--data ${quoted(data)}`, ...flags.filter(Boolean)].join(
    " ",
  );
}

/** `text` as one word of a shell. */
function quoted(text: string): string {
  return /^[\w./=-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A script for pages that runs `model`: from an image to scores, or from arrays to outputs. */
export function snippetOf(
  model: string,
  inputs: readonly InputSpec[],
  options: JobOptions,
): string {
  const head = `import * as ort from "onnxruntime-web";

const session = await ort.InferenceSession.create("./${jsText(outputName(model))}");
`;
  try {
    return head + imageScript(inputs[0], options);
  } catch {
    return head + arrayScript(inputs);
  }
}

/** The part that turns an image into the input of the model, where it is one. */
function imageScript(input: InputSpec, options: JobOptions): string {
  const { resize, crop, channels, mean, std, layout } = resolvePreprocess(
    preprocessOf(options),
    input,
  );
  const { width, height } = crop, isFirst = layout === "NCHW";
  const sides = isFirst ? [channels, height, width] : [height, width, channels];
  const at = isFirst ? `c * ${height * width} + i` : `i * ${channels} + c`;
  const side = resize === "none" ? "Math.min(bitmap.width, bitmap.height)" : String(resize);
  return `
/** The scores of an image: an <img>, a canvas, a Blob. */
export async function run(image) {
  const bitmap = await createImageBitmap(image);
  const scale = ${side} / Math.min(bitmap.width, bitmap.height);
  const [w, h] = [bitmap.width * scale, bitmap.height * scale];
  const context = new OffscreenCanvas(${width}, ${height}).getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, (${width} - w) / 2, (${height} - h) / 2, w, h);
  const { data } = context.getImageData(0, 0, ${width}, ${height});
  const mean = [${mean.join(", ")}], std = [${std.join(", ")}];
  const values = new Float32Array(${sides.reduce((a, b) => a * b)});
  for (let i = 0; i < ${width * height}; i++) {
    for (let c = 0; c < ${channels}; c++) {
      values[${at}] = (data[4 * i + c] / 255 - mean[c]) / std[c];
    }
  }
  const input = new ort.Tensor("float32", values, [${
    (input.dims.length === 4 ? [1, ...sides] : sides).join(", ")
  }]);
  const outputs = await session.run({ [session.inputNames[0]]: input });
  return outputs[session.outputNames[0]].data;
}
`;
}

/** The part that runs a model on arrays. */
function arrayScript(inputs: readonly InputSpec[]): string {
  const lines = inputs.map(({ name, type, dims }) => {
    const sides = dims.map((size) =>
      typeof size === "number" ? String(size) : `1 /* ${size.replaceAll("*/", "")} */`
    );
    return `  ${JSON.stringify(name)}: new ort.Tensor("${type}", /* values */ [], [${
      sides.join(", ")
    }]),`;
  });
  return `
const outputs = await session.run({
${lines.join("\n")}
});
console.log(outputs[session.outputNames[0]].data);
`;
}

/** `text` within double quotes of JavaScript. */
function jsText(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}
