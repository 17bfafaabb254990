/**
 * `attune inspect`: the layers of a model, and what would become of them.
 *
 * @module
 */

import { cutBlocks } from "../blocks/cut.ts";
import { readModel } from "../onnx/file.ts";
import { opsetOf } from "../onnx/model.ts";
import { plan } from "../plan/plan.ts";
import { type Command, modelPath } from "./command.ts";
import { describeBlocks, describePlan } from "./describe.ts";

/** The command. */
export const inspectCommand: Command = {
  name: "inspect",
  summary: "List the layers of a model with the bits they would get, and what stays in float",
  usage: "<model.onnx>",
  examples: [["The layers' names, for --override", "attune inspect model.onnx"]],
  flags: {
    json: { help: "print the list as JSON to stdout" },
  },
  run(parsed, context) {
    const model = readModel(modelPath(inspectCommand, parsed));
    const found = plan(model), blocks = cutBlocks(found);
    if (parsed.on("json")) {
      context.print(JSON.stringify({
        model: model.name,
        opset: opsetOf(model),
        inputs: found.graph.inputs,
        outputs: found.graph.outputs,
        layers: found.layers.map(({ target, bits, bytesBefore, bytesAfter, note }) => ({
          name: target.name,
          op: target.op,
          weight: target.weight,
          shape: target.shape,
          groups: target.groups,
          parameters: target.groups * target.rows * target.depth,
          bits,
          bytesBefore,
          bytesAfter,
          note,
        })),
        blocks: blocks.map(({ steps, inputs, outputs }) => ({
          layers: steps.flat().map(({ target }) => target.name),
          inputs,
          outputs,
        })),
        skipped: found.skipped,
      }));
    } else context.print(`${describePlan(found)}\n\n${describeBlocks(blocks)}`);
    return Promise.resolve();
  },
};
