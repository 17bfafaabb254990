/**
 * What holds for all layers: widths, activations, format, effort, seed.
 *
 * @module
 */

import { WIDTHS } from "../../src/strategies/measures.ts";
import { h } from "../dom.ts";
import type { JobOptions } from "../messages.ts";
import { choice } from "./fields.ts";

/** Fields that show `options`; `onEdit` hears of others. */
export function planFields(
  { bits, activationBits, format, effort, seed }: JobOptions,
  onEdit: (change: Partial<JobOptions>) => void,
): HTMLElement[] {
  return [
    h("legend", { class: "unseen" }, "How the model is quantized"),
    choice(
      "Bits of weights",
      WIDTHS.map((width) => [width, String(width)]),
      bits,
      (bits) => onEdit({ bits, spread: [] }),
    ),
    choice("Activations", [[8, "8 bits"], [4, "4 bits"], ["none", "float"]], activationBits, (
      activationBits,
    ) => onEdit({ activationBits })),
    choice(
      "Format",
      [
        ["qdq", "QDQ: integer kernels"],
        ["packed", "packed: the smallest file"],
        ["matmulnbits", "MatMulNBits: for transformers"],
      ],
      format,
      (format) => onEdit({ format }),
    ),
    choice(
      "Effort",
      [
        ["fast", "fast: nearest level"],
        ["usual", "usual: 16 candidates"],
        ["thorough", "thorough: 64 candidates"],
      ],
      effort,
      (effort) => onEdit({ effort }),
    ),
    h(
      "label",
      { class: "field" },
      h("span", {}, "Seed"),
      h("input", {
        type: "number",
        min: 0,
        step: 1,
        value: seed,
        change: ({ target }) => {
          const { value } = target as HTMLInputElement;
          onEdit({ seed: Math.max(0, Math.floor(Number(value))) });
        },
      }),
    ),
  ];
}
