/**
 * What a caller says about the axis that counts samples.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import { formatDims } from "./sample.ts";
import type { InputSpec } from "../onnx/inputs.ts";

/**
 * The axis that counts samples, from 0: of the first input, and of those others that have the same
 * dimension; or of each input by its name.
 */
export type BatchAxis = number | Readonly<Record<string, number>>;

/**
 * `inputs` with what `axis` says about them.
 *
 * @throws {AttuneError} `bad-option` where an input does not exist or has no such axis.
 */
export function withBatchAxis(
  inputs: readonly InputSpec[],
  axis: BatchAxis | undefined,
): readonly InputSpec[] {
  if (axis === undefined || inputs.length === 0) return inputs;
  const [first] = inputs;
  if (typeof axis === "number") {
    const shared = first.dims[axis];
    const axes = inputs.flatMap(({ name, dims }, i) => {
      const index = typeof shared === "string" ? dims.indexOf(shared) : axis;
      return i === 0 || (shared !== undefined && dims[index] === shared) ? [[name, index]] : [];
    });
    return withBatchAxis(inputs, { ...Object.fromEntries(axes), [first.name]: axis });
  }
  for (const [name, index] of Object.entries(axis)) {
    const spec = inputs.find((input) => input.name === name);
    const exists = spec !== undefined && Number.isInteger(index) && index >= 0 &&
      (spec.unranked || index < spec.dims.length);
    if (exists) continue;
    const has = inputs.map(({ name, dims }) => `"${name}" ${formatDims(dims)}`).join(", ");
    throw new AttuneError(
      "bad-option",
      `Cannot take axis ${index} of input "${name}" as the one that counts samples: the model ` +
        `has ${has}; give one of these axes, counted from 0`,
    );
  }
  return inputs.map((spec) =>
    Object.hasOwn(axis, spec.name) ? { ...spec, batchAxis: axis[spec.name] } : spec
  );
}
