/**
 * The look of pages: one column, hairlines, one accent; light and dark by the reader's setting.
 * Text has a contrast of 4.5 and marks one of 3 at least: `tests/report_style_test.ts` computes
 * them.
 *
 * @module
 */

/** The style sheet. */
export const STYLE: string = `
:root {
  color-scheme: light dark;
  --page: #fbfaf8; --card: #fff; --ink: #1c1b1a; --soft: #66625d; --line: #e3dfd9;
  --accent: #0f6b68; --tint: #599c96; --mark: #857f78; --warn: #9a4a07; --warn-page: #fdf3e3;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #151617; --card: #1c1e1f; --ink: #ebe9e6; --soft: #a19d97; --line: #303335;
    --accent: #62c9be; --tint: #3f8580; --mark: #85817c; --warn: #f0b269; --warn-page: #2c2317;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
@media (prefers-reduced-motion: no-preference) { html { scroll-behavior: smooth; } }
body {
  margin: 0 auto; max-width: 72rem; padding: clamp(1.25rem, 4vw, 3.5rem) clamp(1rem, 4vw, 2.5rem);
  background: var(--page); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  font-variant-numeric: tabular-nums;
}
h1 {
  margin: 0; font-size: clamp(1.6rem, 4.5vw, 2.3rem); font-weight: 650; line-height: 1.15;
  letter-spacing: -0.02em; overflow-wrap: anywhere;
}
h2 { margin: 3rem 0 0.25rem; font-size: 1.2rem; font-weight: 650; letter-spacing: -0.01em; }
p { margin: 0.25rem 0; max-width: 46rem; overflow-wrap: anywhere; }
a { color: inherit; text-decoration-color: var(--mark); text-underline-offset: 0.2em; }
a:hover { color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
svg { display: block; overflow: visible; }
.soft { color: var(--soft); }
.small { font-size: 0.87rem; }
.lede { margin-top: 0.5rem; color: var(--soft); }
.unseen {
  position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap;
}

.figures {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 8rem), 1fr));
  gap: 1.5rem 1.2rem; margin: 2.25rem 0 0; padding: 1.4rem 0 1.5rem;
  border: solid var(--line); border-width: 1px 0;
}
.figures dt { color: var(--soft); font-size: 0.87rem; }
.figures dd { margin: 0; overflow-wrap: anywhere; }
.figures .value {
  font-size: clamp(1.35rem, 4.5vw, 1.55rem); white-space: nowrap; font-weight: 600;
  line-height: 1.25; letter-spacing: -0.02em;
}

.warnings {
  margin: 1.75rem 0 0; padding: 0.8rem 1.1rem; list-style: none;
  border-left: 3px solid var(--warn); background: var(--warn-page); overflow-wrap: anywhere;
}
.warnings li + li { margin-top: 0.4rem; }
.warnings b { color: var(--warn); font-weight: 600; }

.scroll { position: relative; overflow-x: auto; margin-top: 0.75rem; }
pre.scroll {
  padding: 0.8rem 1rem; border: 1px solid var(--line); border-radius: 6px; background: var(--card);
  font-size: 0.87rem;
}
table { width: 100%; border-collapse: collapse; font-size: 0.9rem; }
th {
  padding: 0.3rem 1rem 0.4rem 0; color: var(--soft); font-weight: 500; text-align: left;
  vertical-align: bottom; white-space: nowrap;
}
th button {
  padding: 0; border: 0; background: none; color: inherit; font: inherit; cursor: pointer;
}
th button:hover, th[aria-sort] button { color: var(--accent); }
th[aria-sort="descending"] button::after { content: " ↓"; }
th[aria-sort="ascending"] button::after { content: " ↑"; }
td { padding: 0.2rem 1rem 0.2rem 0; border-top: 1px solid var(--line); }
th:last-child, td:last-child { padding-right: 0; }
.filter {
  display: flex; flex-wrap: wrap; align-items: center; gap: 0.6rem; margin-top: 0.9rem;
  color: var(--soft); font-size: 0.9rem;
}
.filter input {
  width: 16rem; max-width: 100%; padding: 0.3rem 0.6rem; border: 1px solid var(--mark);
  border-radius: 5px; background: var(--card); color: var(--ink); font: inherit;
}
.number { text-align: right; white-space: nowrap; }
.name { overflow-wrap: anywhere; }
td.name { min-width: 18rem; }
.shape { white-space: nowrap; }
.run td:first-child::first-letter, .run dt::first-letter { text-transform: uppercase; }
.plot { width: 22%; min-width: 11rem; }
.error { width: 5rem; }
.worse { color: var(--warn); }

.tick { stroke: var(--line); }
.label { fill: var(--soft); font-size: 0.75rem; text-anchor: middle; }
.label.first { text-anchor: start; }
.label.last { text-anchor: end; }
.gain { stroke: var(--tint); stroke-width: 3; }
.nearest, .dot.other { fill: var(--page); stroke: var(--mark); stroke-width: 1.5; }
.final, .dot.main { fill: var(--accent); }
.final.bad, .gain.bad { fill: var(--warn); stroke: var(--warn); }
.key { display: inline-block; vertical-align: -1px; }
.log { display: grid; grid-template-columns: auto 1fr; gap: 0 0.6rem; margin: 1.1rem 0 0; }
.axis { position: relative; width: 3.6rem; color: var(--soft); font-size: 0.75rem; }
.axis span { position: absolute; right: 0; transform: translateY(-50%); white-space: nowrap; }
.log figcaption { grid-column: 2; display: flex; justify-content: space-between; gap: 1rem; }
.log .line {
  fill: none; stroke: var(--accent); stroke-width: 1.5; vector-effect: non-scaling-stroke;
}

.samples {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr));
  gap: 1rem; margin: 1rem 0 0; padding: 0; list-style: none; line-height: 1.4;
}
.samples li { display: flex; gap: 0.8rem; min-width: 0; break-inside: avoid; }
.samples li > div { min-width: 0; }
.samples img { flex: none; object-fit: contain; border-radius: 4px; background: var(--card); }

.cards {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19.5rem), 1fr));
  gap: 0.5rem 1rem; align-items: start; margin-top: 1rem;
}
.card {
  border: 1px solid var(--line); border-radius: 6px; background: var(--card);
  break-inside: avoid; scroll-margin-top: 1rem;
}
.card summary {
  display: flex; justify-content: space-between; gap: 1rem; padding: 0.4rem 0.9rem; cursor: pointer;
}
.card summary .name { font-weight: 600; min-width: 0; }
.card:not([open]) .name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.card summary .small { flex: none; }
.card > div { padding: 0 0.9rem 0.9rem; scroll-margin-top: 3rem; }
.card[open] { border-color: var(--mark); }
.card[open] summary { padding-bottom: 0.1rem; }
.bars { fill: var(--tint); }
.level { stroke: var(--accent); stroke-width: 1.5; }
.base { stroke: var(--mark); stroke-width: 1; }
.card figure { margin: 0.8rem 0 0.6rem; }
.scale { position: relative; height: 1.2rem; color: var(--soft); font-size: 0.75rem; }
.scale span { position: absolute; top: 0.1rem; transform: translateX(-50%); }
.facts {
  display: grid; grid-template-columns: auto 1fr; gap: 0.1rem 1rem; margin: 0; font-size: 0.87rem;
}
.facts dt { color: var(--soft); }
.facts dd { margin: 0; text-align: right; overflow-wrap: anywhere; min-width: 0; }

.run {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr));
  gap: 0 3rem;
}
.share { fill: var(--tint); }
.facts.wide { margin-top: 1rem; font-size: 0.9rem; }
.facts.wide > * { padding: 0.28rem 0; border-top: 1px solid var(--line); }
.facts.wide { gap: 0; }
footer {
  margin-top: 3.5rem; padding-top: 1rem; border-top: 1px solid var(--line);
  color: var(--soft); font-size: 0.87rem;
}
@media (max-width: 60rem) {
  .label:not(.first, .last) { display: none; }
}
@media (max-width: 40rem) {
  .wide-only { display: none; }
  td.name { min-width: 8rem; }
  .plot { width: 34%; min-width: 6.5rem; }
  th, td { padding-right: 0.7rem; }
}
@media print {
  body { max-width: none; padding: 0; }
  .filter { display: none; }
  .scroll { overflow: visible; }
  h2 { break-after: avoid; }
  tr { break-inside: avoid; }
}
`;
