/**
 * `attune evaluate`: what a model gets right, and how far it is from its reference.
 *
 * @module
 */

import { evaluate } from "../evaluate/evaluate.ts";
import { Graph } from "../graph/graph.ts";
import { readModel } from "../onnx/file.ts";
import { type Command, flagsIn, modelPath } from "./command.ts";
import { describeEvaluation } from "./describe.ts";
import {
  boundOf,
  FAIL_FLAGS,
  METRIC_FLAGS,
  metricOf,
  verdictOf,
  worstError,
} from "./options/verdict.ts";
import { createProgress } from "./progress.ts";
import { batchingOf, DATA_FLAGS, poolOf, RUN_FLAGS, samplesOf } from "./shared.ts";

/** The command. */
export const evaluateCommand: Command = {
  name: "evaluate",
  summary: "Measure a model against its float32 reference on samples it was not calibrated on",
  usage: "<model.onnx> --reference FLOAT.onnx --data PATH",
  examples: [
    [
      "Accuracy, agreement and output error",
      "attune evaluate model.q.onnx --reference model.onnx --data ./val",
    ],
    [
      "A figure of your own, in a module of JavaScript or TypeScript",
      "attune evaluate q.onnx --reference model.onnx --data ./val --metric map.ts",
    ],
    ["Accuracy of the float model", "attune evaluate model.onnx --data ./val --json"],
  ],
  common: ["reference", "data", "labels", "preprocess", "limit", "json"],
  flags: {
    ...flagsIn("Samples", {
      reference: { value: "PATH", help: "the float32 model to compare with [the model itself]" },
      labels: {
        value: "FILE",
        help: "CSV of file,label [labels.csv in the folder, or subfolders]",
      },
    }),
    ...DATA_FLAGS,
    ...flagsIn("Output", { json: { help: "print the figures as JSON to stdout" } }),
    ...METRIC_FLAGS,
    ...FAIL_FLAGS,
    ...RUN_FLAGS,
  },
  async run(parsed, context) {
    const bound = boundOf(parsed), metric = await metricOf(parsed);
    const model = readModel(modelPath(evaluateCommand, parsed));
    const path = parsed.text("reference");
    const reference = path === undefined ? model : readModel(path);
    const samples = await samplesOf(parsed, new Graph(model).inputs, context, {
      what: "a folder of images, a .npy, .npz or .jsonl file",
      labels: parsed.text("labels"),
    });
    using pool = await poolOf(parsed, context);
    using progress = createProgress();
    const result = await evaluate(model, reference, samples.samples(), pool, {
      ...batchingOf(parsed),
      metric,
      onWarning: (message) => context.say(`warning: ${message}`),
      signal: context.signal,
      onProgress: progress.update,
    });
    progress.finish();
    if (parsed.on("json")) context.print(JSON.stringify(result));
    else context.say(describeEvaluation(result));
    return verdictOf(worstError(result.outputs), bound, context);
  },
};
