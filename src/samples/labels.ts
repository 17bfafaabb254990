/**
 * Labels of a folder of images: a CSV file with the header `file,label`.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";

/**
 * Parses the text of a labels file: file names, relative to the folder, to 0-based classes. The
 * columns may come in any order and beside others; a field may be quoted as RFC 4180 has it.
 *
 * Throws `AttuneError` `bad-data` that names `source` and the line.
 *
 * @example
 * ```ts
 * import { parseLabels } from "./labels.ts";
 *
 * const labels = parseLabels("file,label\ncat.jpg,3\n", "labels.csv");
 * if (labels.get("cat.jpg") !== 3) throw new Error("no cat");
 * ```
 */
export function parseLabels(text: string, source: string): Map<string, number> {
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/);
  const header = splitFields(lines[0]);
  const [fileColumn, labelColumn] = [header.indexOf("file"), header.indexOf("label")];
  if (fileColumn < 0 || labelColumn < 0) {
    throw new AttuneError(
      "bad-data",
      `Cannot read labels from "${source}": its first line is "${lines[0].slice(0, 80)}", ` +
        `make it "file,label"`,
    );
  }
  const labels = new Map<string, number>();
  for (const [index, line] of lines.entries()) {
    if (index === 0 || line === "") continue;
    const fields = splitFields(line);
    const [file, label] = [fields[fileColumn], fields[labelColumn]];
    if (!file || !/^\d{1,9}$/.test(label ?? "")) {
      throw new AttuneError(
        "bad-data",
        `Cannot read labels from "${source}": line ${index + 1} is "${line.slice(0, 80)}", ` +
          `give a file name and a whole number from 0`,
      );
    }
    labels.set(file.replaceAll("\\", "/").replace(/^\.\//, ""), Number(label));
  }
  return labels;
}

/** The fields of one line, trimmed; a quoted field may hold commas and doubled quotes. */
function splitFields(line: string): string[] {
  const fields = line.matchAll(/(?:^|,)\s*(?:"((?:[^"]|"")*)"|([^,]*))/g);
  return Array.from(fields, ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain.trim());
}
