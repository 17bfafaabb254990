/**
 * The script of pages: sorts and filters tables, and opens what a link points into.
 *
 * @module
 */

/** The script; it adds its own buttons, so that nothing dead is there without it. */
export const SCRIPT: string = `
"use strict";
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const body = table.tBodies[0], rows = [...body.rows];
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.by ?? cell.textContent;
  };
  table.querySelectorAll("th").forEach((head, column) => {
    const kind = head.dataset.sort;
    if (kind === undefined) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const first = kind === "number" ? "descending" : "ascending";
      const second = first === "ascending" ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? second : first;
      for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const compare = kind === "number"
        ? (a, b) => sign * (Number(valueOf(a, column)) - Number(valueOf(b, column)))
        : (a, b) => sign * valueOf(a, column).localeCompare(valueOf(b, column), "en", {
          numeric: true,
        });
      body.append(...rows.toSorted(compare));
    });
  });
  if (rows.length < 8) continue;
  const box = table.parentElement, label = document.createElement("label");
  const input = document.createElement("input"), count = document.createElement("output");
  label.className = "filter";
  input.type = "search";
  input.placeholder = "name, operator, bits";
  label.append("Filter ", input, count);
  box.before(label);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      if (!row.hidden) shown++;
    }
    count.textContent = words.length === 0 ? "" : shown + " of " + rows.length;
  });
}
const reveal = () => {
  const target = document.getElementById(location.hash.slice(1));
  const details = target && target.closest("details");
  if (!details) return;
  details.open = true;
  details.scrollIntoView();
};
addEventListener("hashchange", reveal);
reveal();
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
`;

/** The digest that lets a page run it and nothing else. */
export const SCRIPT_DIGEST: string = "aWReJ5rt9Qem9l0cxrY+xWY76cWece1YeEyiiLdl5n4=";
