/**
 * How images become inputs.
 *
 * @module
 */

import { fill } from "../dom.ts";
import type { JobOptions } from "../messages.ts";
import { choice } from "./fields.ts";

/** Fills `place` with fields that `options` are shown in; `onChange` hears of others. */
export function imageFields(
  place: Element,
  options: JobOptions,
  onChange: (change: Partial<JobOptions>) => void,
): void {
  fill(
    place,
    choice(
      "Values",
      [
        ["imagenet", "ImageNet: /255, less mean, over deviation"],
        ["unit", "0 to 1"],
        ["signed", "−1 to 1"],
        ["raw", "0 to 255"],
      ],
      options.preset,
      (preset) => onChange({ preset }),
    ),
    choice(
      "Size",
      [
        ["yes", "short side resized, centre cropped"],
        ["no", "centre cropped as it is"],
      ],
      options.resize ? "yes" : "no",
      (value) => onChange({ resize: value === "yes" }),
    ),
  );
}
