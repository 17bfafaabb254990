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

/** As many of the first `characters` as fit into `width` columns. */
function fitting(characters: readonly string[], width: number): readonly string[] {
  let used = 0;
  const end = characters.findIndex((character) => (used += widthOf(character)) > width);
  return end < 0 ? characters : characters.slice(0, end);
}
