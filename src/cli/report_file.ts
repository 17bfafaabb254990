/**
 * What a file of `--report` holds: a page, or JSON where its name says so.
 *
 * @module
 */

/** The text of the file `path`: `report` as JSON, or as `render` shows it. */
export function reportText<T>(path: string, report: T, render: (report: T) => string): string {
  return path.toLowerCase().endsWith(".json") ? JSON.stringify(report) : render(report);
}
