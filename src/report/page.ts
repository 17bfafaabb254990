/**
 * What all pages share: one file, nothing loaded from elsewhere, to be kept beside the model or
 * sent to somebody. It reads without scripts; the one there is sorts and filters tables.
 *
 * @module
 */

import { type Content, Markup, markup } from "./markup.ts";
import { SCRIPT, SCRIPT_DIGEST } from "./script.ts";
import { STYLE } from "./style.ts";

/** What a page may do: its own style and script, and pictures that it holds. */
const POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; " +
  `style-src 'unsafe-inline'; script-src 'sha256-${SCRIPT_DIGEST}'`;

/** A whole page. */
export function pageOf({ title, header, main, version }: {
  /** Its title, which the header shows in its own way. */
  readonly title: string;
  readonly header: Markup;
  readonly main: Content;
  /** The version of attune that wrote what it shows. */
  readonly version: string;
}): string {
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<title>${title}</title>
<style>${new Markup(STYLE)}</style>
</head>
<body>
${header}
<main>
${main}
</main>
<footer>Written by attune ${version}.</footer>
<script>${new Markup(SCRIPT)}</script>
</body>
</html>
`.text;
}

/** A figure of a header, with a note below. */
export function figure(name: string, value: string, note?: Content): Markup {
  return markup`<div><dt>${name}</dt><dd class="value">${value}</dd>
<dd class="soft small">${note}</dd></div>
`;
}

/** Pairs of names and values. */
export function facts(list: readonly (readonly [string, Content])[], kind = ""): Markup {
  const items = list.map(([name, value]) => markup`<dt>${name}</dt><dd>${value}</dd>`);
  return markup`<dl class="facts${kind}">${items}</dl>`;
}

/** A column of a table. */
export interface Column {
  /** What stands above it. */
  readonly head: Content;
  /** Its looks: `number`, `plot`, `wide-only`, `soft`, `name`. */
  readonly kind?: string;
  /** Whether rows can be sorted by it. Default: not. */
  readonly sorts?: "text" | "number";
}

/** A cell; what it is sorted by, where that is not its text. */
export type Cell = Content | { readonly content: Content; readonly by: number | string };

/** A table in a box that it can be scrolled in, so that the page itself never is sideways. */
export function tableOf(
  label: string,
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
): Markup {
  const heads = columns.map(({ head, kind = "", sorts }) =>
    markup`<th scope="col" class="${kind}"${
      sorts === undefined ? undefined : markup` data-sort="${sorts}"`
    }>${head}</th>`
  );
  const cell = (value: Cell, { kind = "" }: Column) => {
    const isSorted = typeof value === "object" && "by" in value;
    const by = isSorted ? markup` data-by="${value.by}"` : undefined;
    return markup`<td class="${kind}"${by}>${isSorted ? value.content : value}</td>`;
  };
  const lines = rows.map((row) =>
    markup`<tr>${row.map((each, i) => cell(each, columns[i]))}</tr>
`
  );
  const sortable = columns.some(({ sorts }) => sorts) ? markup` data-sortable` : undefined;
  return markup`<div class="scroll" role="region" aria-label="${label}" tabindex="0">
<table${sortable}><caption class="unseen">${label}</caption>
<thead><tr>${heads}</tr></thead>
<tbody>
${lines}</tbody></table></div>`;
}
