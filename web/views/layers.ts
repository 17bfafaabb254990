/**
 * The layers of a result in a table that can be sorted.
 *
 * @module
 */

import { bytes, percent } from "../../src/report/format.ts";
import type { LayerReport } from "../../src/report/report.ts";
import { fill, h } from "../dom.ts";

/** A column: its head, what it is sorted by, and whether large values come first. */
interface Column {
  readonly head: string;
  readonly value: (layer: LayerReport, index: number) => number | string;
  readonly falls: boolean;
  readonly kind?: string;
}

const COLUMNS: readonly Column[] = [
  { head: "#", value: (_, index) => index, falls: false, kind: "number" },
  { head: "Layer", value: ({ name }) => name, falls: false },
  { head: "Bits", value: ({ bits }) => bits, falls: false, kind: "number" },
  { head: "Size", value: ({ bytesAfter }) => bytesAfter, falls: true, kind: "number wide" },
  { head: "If nearest", value: ({ error }) => error.nearest, falls: true, kind: "number wide" },
  { head: "Error", value: ({ error }) => error.final, falls: true, kind: "number" },
];
/** What the table is sorted by at first: the error. */
const FIRST = COLUMNS.length - 1;

/** The table of `layers`. */
export function layerTable(layers: readonly LayerReport[]): HTMLElement {
  const body = h("tbody"), numbered = layers.map((layer, index) => ({ layer, index }));
  const most = Math.max(...layers.map(({ error }) => error.final), Number.MIN_VALUE);
  const heads = COLUMNS.map(({ head, kind }, i) =>
    h(
      "th",
      { scope: "col", class: kind, "aria-sort": "none" },
      h("button", { type: "button", class: "sort", click: () => sortBy(i) }, head),
    )
  );
  let column = -1, direction = 1;
  const sortBy = (next: number) => {
    const { value, falls } = COLUMNS[next];
    direction = next === column ? -direction : falls ? -1 : 1;
    column = next;
    heads.forEach((head, i) =>
      head.setAttribute(
        "aria-sort",
        i !== column ? "none" : direction > 0 ? "ascending" : "descending",
      )
    );
    const sorted = numbered.toSorted((a, b) => {
      const [left, right] = [value(a.layer, a.index), value(b.layer, b.index)];
      return direction * (left < right ? -1 : left > right ? 1 : 0) || a.index - b.index;
    });
    fill(body, ...sorted.map(({ layer, index }) => row(layer, index, most)));
  };
  sortBy(FIRST);
  return h(
    "table",
    { class: "layers" },
    h("caption", { class: "unseen" }, "Layers with their errors; the heads sort"),
    h("thead", {}, h("tr", {}, ...heads)),
    body,
  );
}

function row(layer: LayerReport, index: number, most: number): HTMLElement {
  const { name, grid, bytesAfter, error } = layer;
  const share = h("span", { class: "share", "aria-hidden": "true" });
  share.style.setProperty("--share", String(error.final / most));
  return h(
    "tr",
    {},
    h("td", { class: "number soft" }, index + 1),
    h("th", { scope: "row", class: "name" }, name),
    h("td", { class: "number" }, grid),
    h("td", { class: "number wide" }, bytes(bytesAfter)),
    h("td", { class: "number wide soft" }, percent(error.nearest)),
    h("td", { class: "number" }, share, h("span", { class: "figure" }, percent(error.final))),
  );
}
