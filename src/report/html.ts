/** Stub until the page lands. @module */
import type { Report } from "./report.ts";
/** The report as a page. */
export function renderReport(report: Report): string {
  return `<pre>${JSON.stringify(report)}</pre>`;
}
