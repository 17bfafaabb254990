/** A rounding method that attune does not have: coordinate descent from the nearest levels. */

import type { Method } from "../../../src/round/method.ts";

export interface DescentRounding {
  readonly kind: "descent";
  readonly sweeps?: number;
}

export const descent: Method<DescentRounding> = {
  kind: "descent",
  doc: "nearest levels, moved one at a time while that helps",
  options: { sweeps: { doc: "rounds over all weights", default: 4, check: "count", flag: true } },
  learned: false,
  grids: ["uniform"],
  // deno-lint-ignore require-yield
  *round({ kernel, rows, grid }, { sweeps = descent.options.sweeps.default }) {
    grid.snap(kernel, rows);
    kernel.polish({ ...rows, sweeps });
  },
};
