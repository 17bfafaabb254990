import { assertEquals } from "std/assert/equals.js";
import { assert } from "std/assert/assert.js";
import { bytes, duration, percent } from "../src/report/format.ts";
import { renderReport } from "../src/report/html.ts";
import { markup } from "../src/report/markup.ts";
import { errorAxis, errorPlot, histogramPlot, lineSpacing } from "../src/report/plots.ts";
import { LAYER, REPORT } from "./helpers/reports.ts";

/** The page's text as a reader sees it. */
function textOf(page: string): string {
  return page.replace(/<(style|script)>[\s\S]*?<\/\1>/g, "").replace(/<[^>]*>/g, " ")
    .replace(/\s+/g, " ");
}

Deno.test("the page tells the totals, what was done, and what was not", () => {
  const text = textOf(renderReport(REPORT));
  const expected = [
    "2 layers quantized, 1 left in float",
    "100 samples, seed 7",
    "1.0 kB from 5.0 kB, 5.0 × smaller",
    "5.00 2 in 1 layer, 8 in 1",
    "5 of 6 held-out samples: too few for a percentage",
    "Output error 1.2 %",
    "File to simulation 0.021 %",
    "1 min 7 s peak memory 300 MB",
    "Warning the bias of conv1 would overflow",
    "head Gemm asked for",
    "granularity group, size 32",
    "overrides pattern head*, bits skip",
    "float target shift on",
    "scale refit off",
    "rounding 1 min 5 s",
    "attune 1.2.3",
  ];
  for (const part of expected) assert(text.includes(part), `${part} is not in: ${text}`);
});

Deno.test("the page tells of each layer", () => {
  const activation = { lo: -0.51234, hi: 6, bits: 8, scale: 0.0255, zeroPoint: 20 };
  const layers = [{ ...LAYER, groups: 4, granularity: "group:32", activation }];
  const text = textOf(renderReport({ ...REPORT, layers }));
  const expected = [
    "Conv, 16 × 8 × 3 × 3, 4 groups",
    "2, stored in 4",
    "Scale per group of 32",
    "4.6 kB → 640 B",
    "10 % → 1.0 %",
    "8 bits, −0.512 … 6",
  ];
  for (const part of expected) assert(text.includes(part), `${part} is not in: ${text}`);
});

Deno.test("the page names the layer with the largest error, and links to it", () => {
  const layers = ["a", "b", "c"].map((name, i) => ({
    ...LAYER,
    name,
    error: { nearest: 0.5, final: [0.01, 0.2, 0.03][i] },
  }));
  const page = renderReport({ ...REPORT, layers });
  assert(page.includes(`20 %, in <a href="#layer-1">b</a>`));
  assert(page.includes(`<div id="layer-1">`));
});

Deno.test("names from a model cannot become markup, wherever they stand", () => {
  const evil = `"><script>alert('x')</script>&amp;`;
  const page = renderReport({
    ...REPORT,
    version: evil,
    model: evil,
    method: evil,
    options: { [evil]: evil, list: [evil], deep: { [evil]: evil } },
    layers: [{ ...LAYER, name: evil, op: evil, weight: evil, granularity: evil, note: evil }],
    skipped: [{ name: evil, op: evil, reason: evil }],
    warnings: [evil],
    stages: [{ name: evil, seconds: 1 }],
  });
  assertEquals(page.match(/<script/gi)!.length, 1, "the page's own");
  const tags = (text: string) => text.match(/<[a-z]+/g)!.length;
  const harmless = renderReport({
    ...REPORT,
    options: { a: "a", list: ["a"], deep: { a: "a" } },
    layers: [{ ...LAYER, note: "a" }],
    stages: [{ name: "a", seconds: 1 }],
  });
  assertEquals(tags(page), tags(harmless));
  assert(page.includes("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;amp;"));
});

Deno.test("the page stands alone: its own script, nothing from elsewhere, all tags closed", () => {
  const page = renderReport(REPORT);
  assertEquals(
    page.match(/<link|<img|<iframe|\bsrc=|url\(|@import|https?:|<[^>]*\bon\w+=/i),
    null,
  );
  for (const [, target] of page.matchAll(/href="([^"]*)"/g)) {
    assert(target.startsWith("#") && page.includes(`id="${target.slice(1)}"`), target);
  }
  const open: string[] = [];
  const body = page.replace(/<(style|script)>[\s\S]*?<\/\1>/g, "");
  for (const [, end, tag, , empty] of body.matchAll(/<(\/?)([a-z][a-z0-9]*)([^>]*?)(\/?)>/g)) {
    if (empty || tag === "meta") continue;
    if (end) assertEquals(open.pop(), tag);
    else open.push(tag);
  }
  assertEquals(open, []);
});

Deno.test("a run without layers, stages, held-out samples or known memory has a page too", () => {
  const page = renderReport({
    ...REPORT,
    layers: [],
    skipped: [],
    warnings: [],
    stages: [],
    check: null,
    peakMemory: 0,
    samples: { calibration: 1, heldOut: 0, skipped: 3 },
  });
  const text = textOf(page);
  assert(text.includes("not checked: no samples were held out"), text);
  assert(text.includes("3 samples could not be read"), text);
  assert(text.includes("calibrated on 1 sample,"), text);
  for (const word of ["NaN", "undefined", "Infinity", "peak memory", "[object"]) {
    assert(!text.includes(word), word);
  }
});

Deno.test("errors of all sizes lie on the axis", () => {
  const errors = [{ nearest: 0.02, final: 0 }, { nearest: 3, final: 0.5 }];
  const axis = errorAxis(errors.map((error) => ({ ...LAYER, error })));
  assertEquals(axis, { lo: -5, hi: 1 });
  const [low] = errors.map((error) => errorPlot(axis, error).text);
  assert(low.includes(`class="final" cx="0%"`), low);
  assertEquals(errorAxis([{ ...LAYER, error: { nearest: 0.1, final: 0.1 } }]), { lo: -1, hi: 0 });
});

Deno.test("a layer that came out worse than nearest is marked", () => {
  const axis = { lo: -4, hi: 0 };
  assert(errorPlot(axis, { nearest: 0.01, final: 0.02 }).text.includes("bad"));
  assert(!errorPlot(axis, { nearest: 0.02, final: 0.01 }).text.includes("bad"));
});

Deno.test("a histogram has its bars and its levels in the right places", () => {
  const { text } = histogramPlot(LAYER);
  // Five bars over −3 … 2, as high as their counts are of the largest, from the top of 72 pixels.
  assert(text.includes(`d="M0 72V72H20V54H40V0H60V36H80V63H100V72Z"`), text);
  const lines = [...text.matchAll(/class="level" x1="([\d.]+)%"/g)].map(([, x]) => Number(x));
  assertEquals(lines, [20, 40, 60, 80]);
  assert(text.includes(`left:20%">−2<`) && text.includes(`left:80%">1<`), text);
});

Deno.test("few weights give few bars", () => {
  const counts = new Array(8).fill(2);
  const { text } = histogramPlot({ ...LAYER, histogram: { lo: -3, hi: 2, counts } });
  assertEquals(text.match(/V[\d.]+H/g)!.length, 4);
});

Deno.test("a fine grid is drawn every few levels, level 0 among them", () => {
  assertEquals(lineSpacing({ lo: -8, hi: 7 }), 1);
  assertEquals(lineSpacing({ lo: -128, hi: 127 }), 16);
  const levels = { lo: -127, hi: 127 };
  const histogram = { lo: -128, hi: 128, counts: [100] };
  const { text } = histogramPlot({ ...LAYER, histogram, levels });
  const lines = [...text.matchAll(/class="level" x1="([\d.]+)%"/g)].map(([, x]) => Number(x));
  assertEquals(lines.length, 15);
  assertEquals(lines[0], 6.25, "−112");
  assert(lines.includes(50), "0");
});

Deno.test("markup escapes text, but not markup, and passes lists through", () => {
  const item = markup`<li title="${`a"b`}">${"<&>"}</li>`;
  assertEquals(item.text, `<li title="a&quot;b">&lt;&amp;&gt;</li>`);
  assertEquals(
    markup`<ul>${[item, "'", 3, undefined]}</ul>`.text,
    `<ul>${item.text}&#39;3</ul>`,
  );
  assertEquals(markup``.text, "");
});

Deno.test("figures have the digits that count", () => {
  assertEquals([0, 999, 1000, 51544, 386344, 999600, 13.9e6, 2.5e12].map(bytes), [
    "0 B",
    "999 B",
    "1.0 kB",
    "51.5 kB",
    "386 kB",
    "1.0 MB",
    "13.9 MB",
    "2500 GB",
  ]);
  assertEquals([0.04, 4.21, 9.96, 59.4, 59.6, 190, 7500].map(duration), [
    "0.0 s",
    "4.2 s",
    "10 s",
    "59 s",
    "1 min 0 s",
    "3 min 10 s",
    "2 h 5 min",
  ]);
  assertEquals([0, 3e-6, 0.00036, 0.00999, 0.015, 0.12, 1, 12.5, NaN].map(percent), [
    "0 %",
    "< 0.001 %",
    "0.036 %",
    "1.0 %",
    "1.5 %",
    "12 %",
    "100 %",
    "1250 %",
    "–",
  ]);
});
