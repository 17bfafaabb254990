/**
 * `deno task fuzz`: odd inputs by the thousand. A line for each find has the seed that makes it
 * again: `deno task fuzz --kind KIND --seed N --count 1`.
 */

import { parseArgs } from "node:util";
import { printable } from "../../src/printable.ts";
import { fuzz } from "./loop.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    count: { type: "string", default: "1000" },
    kind: { type: "string" },
    deadline: { type: "string", default: "60" },
    verbose: { type: "boolean" },
  },
});
const started = performance.now();
const { counts, finds, memory, crashes } = await fuzz({
  seed: Number(values.seed),
  count: Number(values.count),
  kind: values.kind,
  deadline: Number(values.deadline),
  onFind: ({ kind, seed, words, folder }) =>
    console.log(`find: --kind ${kind} --seed ${seed} (${folder})\n  ${shown(words)}`),
  onVerdict: (kind, seed, { outcome, words }) =>
    values.verbose && console.log(`${kind} ${seed} ${outcome} ${shown(words.split("\n")[0])}`),
});
for (const [kind, { done, refused }] of Object.entries(counts).sort()) {
  console.log(`${kind}: ${done} done, ${refused} refused`);
}
const seconds = Math.round((performance.now() - started) / 1000);
console.log(
  `${values.count} inputs in ${seconds} s, ${finds.length} finds, ${crashes} crashes of the ` +
    `runtime, largest process ${Math.round(memory / 1e6)} MB`,
);
if (finds.length > 0) Deno.exit(1);

function shown(text: string): string {
  return text.split("\n").map(printable).join("\n  ");
}
