/**
 * Fields with their labels.
 *
 * @module
 */

import { h } from "../dom.ts";

/** A choice of several; `value` is chosen at first. */
export function choice<T extends string | number>(
  label: string,
  values: readonly (readonly [value: T, text: string])[],
  value: T,
  onChoice: (value: T) => void,
): HTMLElement {
  return h(
    "label",
    { class: "field" },
    h("span", {}, label),
    h(
      "select",
      {
        change: (event) => {
          const { selectedIndex } = event.target as HTMLSelectElement;
          onChoice(values[selectedIndex][0]);
        },
      },
      ...values.map(([each, text]) => h("option", { value: each, selected: each === value }, text)),
    ),
  );
}
