/**
 * Markup that is safe by construction: whatever is put into it is escaped, unless it is markup
 * itself.
 *
 * @module
 */

/** Text that is markup already, and is not escaped again. */
export class Markup {
  /** The markup. */
  readonly text: string;

  /** Marks `text` as markup; it must not hold text from elsewhere. */
  constructor(text: string) {
    this.text = text;
  }
}

/** What may stand in a template: lists stand one after the other, `undefined` is nothing. */
export type Content = string | number | Markup | undefined | readonly Content[];

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/**
 * A template of HTML or SVG. Names of layers come from the model's file, so they are not trusted:
 * they are escaped in text and in quoted attributes alike.
 *
 * @example
 * ```ts
 * import { markup } from "./markup.ts";
 *
 * const cell = markup`<td>${"<b>"}</td>`;
 * const row = markup`<tr>${[cell, cell]}</tr>`;
 * const expected = "<tr><td>&lt;b&gt;</td><td>&lt;b&gt;</td></tr>";
 * if (row.text !== expected) throw new Error(row.text);
 * ```
 */
export function markup(parts: TemplateStringsArray, ...values: readonly Content[]): Markup {
  return new Markup(parts.reduce((text, part, i) => text + render(values[i - 1]) + part));
}

function render(content: Content): string {
  if (content === undefined) return "";
  if (content instanceof Markup) return content.text;
  if (typeof content === "object") return content.map(render).join("");
  return String(content).replace(/[&<>"']/g, (character) => ENTITIES[character]);
}
