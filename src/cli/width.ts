/**
 * Text on a terminal: how many columns it takes, and how to make it take fewer.
 *
 * @module
 */

import stringWidth from "string-width";

/**
 * The columns that `text` takes: two for most East Asian characters and emoji, none for accents.
 */
export function widthOf(text: string): number {
  return stringWidth(text);
}

/** `text` in at most `width` columns, by leaving out its middle: names differ at their ends. */
export function shorten(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  if (width < 1) return "";
  const characters = [...new Intl.Segmenter().segment(text)].map(({ segment }) => segment);
  const head = fitting(characters, Math.ceil((width - 1) / 2));
  const tail = fitting(characters.toReversed(), width - 1 - widthOf(head.join("")));
  return `${head.join("")}…${tail.toReversed().join("")}`;
}

/**
 * `text` in lines of at most `width` columns, broken between words; a longer word has its own line.
 *
 * @example
 * ```ts
 * import { wrap } from "./width.ts";
 *
 * const lines = wrap("as many bits as levels have", 12);
 * if (lines.join("|") !== "as many bits|as levels|have") throw new Error(lines.join("|"));
 * ```
 */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const longer = `${lines.at(-1)} ${word}`;
    if (lines.length > 0 && widthOf(longer) <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

/** As many of the first `characters` as fit into `width` columns. */
function fitting(characters: readonly string[], width: number): readonly string[] {
  let used = 0;
  const end = characters.findIndex((character) => (used += widthOf(character)) > width);
  return end < 0 ? characters : characters.slice(0, end);
}
