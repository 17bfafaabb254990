/**
 * `attune cut`: a model of fewer bits out of one with nested grids, without data.
 *
 * @module
 */

import { stat } from "node:fs/promises";
import { AttuneError } from "../errors.ts";
import { cut } from "../emit/narrow.ts";
import { checkOutputs } from "../files/output.ts";
import { readModel, writeModel } from "../onnx/file.ts";
import { bytes } from "../report/format.ts";
import { type Command, flagsIn, modelPath, required } from "./command.ts";
import { inputFiles } from "./shared.ts";

/** The command. */
export const cutCommand: Command = {
  name: "cut",
  summary: "Cut a model that was quantized with --nested to fewer bits, without data",
  usage: "<model.q.onnx> --bits N -o OUT.onnx",
  examples: [
    [
      "The 4-bit model in a file of --nested 8,6,4,3",
      "attune cut model.q.onnx --bits 4 -o small.onnx",
    ],
  ],
  common: ["bits", "output"],
  flags: {
    ...flagsIn("Bits", { bits: { value: "N", help: "one of the narrower widths of the file" } }),
    ...flagsIn("Output", {
      output: { value: "PATH", help: "where the cut model goes", short: "o" },
      format: { value: "NAME", help: "qdq, or packed: as many bits as levels have [as the file]" },
    }),
  },
  async run(parsed, context) {
    const path = modelPath(cutCommand, parsed);
    const bits = parsed.number("bits");
    if (bits === undefined) {
      throw new AttuneError("bad-option", "Give --bits: the width to cut to, as in --bits 4");
    }
    const output = required(parsed, "output", "where the cut model goes, as in -o small.onnx");
    const format = parsed.choice("format", ["qdq", "packed"]);
    const model = readModel(path);
    checkOutputs([output], inputFiles(parsed, path, model));
    writeModel(cut(model, bits, { format }), output);
    const before = (await stat(path)).size, after = (await stat(output)).size;
    context.say(`${output}: ${bits} bits, ${bytes(before)} → ${bytes(after)}`);
  },
};
