/**
 * Aligned tables for the terminal.
 *
 * @module
 */

import process from "node:process";
import { printable } from "../printable.ts";
import { shorten, widthOf } from "./width.ts";

/** Options of {@linkcode table}. */
export interface TableOptions {
  /** Columns of the terminal. Default: those of stdout; without a terminal there is no limit. */
  width?: number;
}

/** Spaces between two columns. */
const GAP = 2;
/** A column of text is not made narrower than this. */
const LEAST_TEXT = 8;
/** A figure, with its unit or units: `4`, `−0.5`, `13.9 MB`, `< 0.001 %`, `3 min 10 s`. */
const FIGURE = /^(< )?[-+−]?\d[\d.,]*( ?[%×a-zA-Z]{1,3})?( \d+ [a-z]{1,3})?$/;

/**
 * A table: columns of figures to the right, text to the left. Where lines are longer than the
 * terminal, the widest columns of text are shortened; columns that do not fit all the same follow
 * below, each part with the first column.
 *
 * @example
 * ```ts
 * import { table } from "./table.ts";
 *
 * const text = table(["layer", "bits"], [["conv1", "4"], ["head", "8"]]);
 * if (text !== "layer  bits\nconv1     4\nhead      8") throw new Error(text);
 * ```
 */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  options: TableOptions = {},
): string {
  const room = options.width ?? process.stdout.columns ?? Infinity;
  const lines = [head, ...rows].map((row) => row.map(printable));
  const isFigures = head.map((_, column) => {
    const cells = rows.map((row) => row[column]).filter((cell) => cell !== "");
    return cells.length > 0 && cells.every((cell) => FIGURE.test(cell));
  });
  const widths = head.map((_, column) => Math.max(...lines.map((line) => widthOf(line[column]))));
  narrow(widths, isFigures, room);
  const cellOf = (line: readonly string[], column: number) => {
    const text = shorten(line[column], widths[column]);
    const space = " ".repeat(widths[column] - widthOf(text));
    return isFigures[column] ? space + text : text + space;
  };
  return partsOf(widths, room).map((columns) =>
    lines.map((line) =>
      columns.map((column) => cellOf(line, column)).join(" ".repeat(GAP)).trimEnd()
    ).join("\n")
  ).join("\n\n");
}

/** The columns of each part of a table: as many as fit into `width`, the first in every part. */
function partsOf(widths: readonly number[], width: number): number[][] {
  const parts = [[0]];
  let used = widths[0];
  for (let column = 1; column < widths.length; column++) {
    const added = GAP + widths[column];
    if (used + added > width && parts.at(-1)!.length > 1) {
      parts.push([0]);
      used = widths[0];
    }
    parts.at(-1)!.push(column);
    used += added;
  }
  return parts;
}

/** Takes columns from the widest text, one at a time, until a line fits into `width`. */
function narrow(widths: number[], isFigures: readonly boolean[], width: number): void {
  let excess = widths.reduce((sum, each) => sum + each, GAP * (widths.length - 1)) - width;
  for (; excess > 0; excess--) {
    const texts = widths.map((each, column) => isFigures[column] ? 0 : each);
    const widest = Math.max(...texts);
    if (widest <= LEAST_TEXT) return;
    widths[texts.indexOf(widest)]--;
  }
}
