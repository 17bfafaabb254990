/**
 * The look of the report's page: one column, hairlines, one accent; light and dark by the reader's
 * setting.
 *
 * @module
 */

/** The style sheet. */
export const STYLE: string = `
:root {
  color-scheme: light dark;
  --page: #fbfaf8; --card: #fff; --ink: #1c1b1a; --soft: #66625d; --line: #e3dfd9;
  --accent: #0f6b68; --tint: #b9d9d5; --mark: #a8a29a; --warn: #9a4a07; --warn-page: #fdf3e3;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #151617; --card: #1c1e1f; --ink: #ebe9e6; --soft: #a19d97; --line: #303335;
    --accent: #62c9be; --tint: #2a5a57; --mark: #77746f; --warn: #f0b269; --warn-page: #2c2317;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body {
  margin: 0 auto; max-width: 70rem; padding: clamp(1.25rem, 4vw, 3.5rem) clamp(1rem, 4vw, 2.5rem);
  background: var(--page); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  font-variant-numeric: tabular-nums;
}
h1 {
  margin: 0; font-size: clamp(1.6rem, 4.5vw, 2.3rem); font-weight: 650; line-height: 1.15;
  letter-spacing: -0.02em; overflow-wrap: anywhere;
}
h2 { margin: 3.25rem 0 0.25rem; font-size: 1.2rem; font-weight: 650; letter-spacing: -0.01em; }
p { margin: 0.25rem 0; max-width: 42rem; }
a { color: inherit; text-decoration-color: var(--mark); text-underline-offset: 0.2em; }
a:hover { color: var(--accent); }
svg { display: block; overflow: visible; }
.soft { color: var(--soft); }
.small { font-size: 0.87rem; }
.lede { margin-top: 0.5rem; color: var(--soft); }

.figures {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 9.4rem), 1fr));
  gap: 1.5rem; margin: 2.25rem 0 0; padding: 1.4rem 0 1.5rem;
  border: solid var(--line); border-width: 1px 0;
}
.figures dt { color: var(--soft); font-size: 0.87rem; }
.figures dd { margin: 0; }
.figures .value { font-size: clamp(1.35rem, 4.5vw, 1.55rem); white-space: nowrap; font-weight: 600; line-height: 1.25; letter-spacing: -0.02em; }

.warnings {
  margin: 1.75rem 0 0; padding: 0.8rem 1.1rem; list-style: none;
  border-left: 3px solid var(--warn); background: var(--warn-page);
}
.warnings li + li { margin-top: 0.4rem; }
.warnings b { color: var(--warn); font-weight: 600; }

table { width: 100%; margin-top: 1rem; border-collapse: collapse; font-size: 0.9rem; }
th {
  padding: 0.3rem 1rem 0.4rem 0; color: var(--soft); font-weight: 500; text-align: left;
  vertical-align: bottom; white-space: nowrap;
}
td { padding: 0.32rem 1rem 0.32rem 0; border-top: 1px solid var(--line); }
th:last-child, td:last-child { padding-right: 0; }
.number { text-align: right; white-space: nowrap; }
.name { overflow-wrap: anywhere; min-width: 6rem; }
.shape { white-space: nowrap; }
.run td:first-child::first-letter, .run dt::first-letter { text-transform: uppercase; }
.plot { width: 34%; min-width: 8rem; }
.error { width: 5.5rem; }
.worse { color: var(--warn); }

.tick { stroke: var(--line); }
.label { fill: var(--soft); font-size: 0.75rem; text-anchor: middle; }
.label.first { text-anchor: start; }
.label.last { text-anchor: end; }
.gain { stroke: var(--tint); stroke-width: 3; }
.nearest { fill: var(--page); stroke: var(--mark); stroke-width: 1.5; }
.final { fill: var(--accent); }
.final.bad, .gain.bad { fill: var(--warn); stroke: var(--warn); }
.key { display: inline-block; vertical-align: -1px; }

.cards {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19.5rem), 1fr));
  gap: 1rem; margin-top: 1.1rem;
}
.card {
  padding: 1rem 1.1rem 0.9rem; border: 1px solid var(--line); border-radius: 6px;
  background: var(--card); break-inside: avoid; scroll-margin-top: 1rem;
}
.card:target { border-color: var(--accent); }
.card h3 { margin: 0; font-size: 0.98rem; font-weight: 600; overflow-wrap: anywhere; }
.bars { fill: var(--tint); }
.level { stroke: var(--accent); stroke-width: 1; opacity: 0.55; }
.base { stroke: var(--mark); stroke-width: 1; }
figure { margin: 0.8rem 0 0.6rem; }
.scale { position: relative; height: 1.2rem; color: var(--soft); font-size: 0.75rem; }
.scale span { position: absolute; top: 0.1rem; transform: translateX(-50%); }
.facts { display: grid; grid-template-columns: auto 1fr; gap: 0.1rem 1rem; margin: 0; font-size: 0.87rem; }
.facts dt { color: var(--soft); }
.facts dd { margin: 0; text-align: right; overflow-wrap: anywhere; }

.run { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 0 3rem; }
.share { fill: var(--tint); }
.facts.wide { margin-top: 1rem; font-size: 0.9rem; }
.facts.wide > * { padding: 0.28rem 0; border-top: 1px solid var(--line); }
.facts.wide { gap: 0; }
footer {
  margin-top: 3.5rem; padding-top: 1rem; border-top: 1px solid var(--line);
  color: var(--soft); font-size: 0.87rem;
}
@media (max-width: 60rem) {
  .shape, .label:not(.first, .last) { display: none; }
}
@media (max-width: 40rem) {
  .wide-only { display: none; }
  .plot { width: 38%; min-width: 6rem; }
  th, td { padding-right: 0.7rem; }
}
@media print { .card { border-color: #ccc; } h2 { break-after: avoid; } }
`;
