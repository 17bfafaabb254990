/** Labels, samples as lines of JSON, and flags of the command line. */

import type { Command } from "../../src/cli/command.ts";
import { mutateBytes, ODD_TEXTS, type Random } from "./random.ts";

/** The bytes of a file of labels for `files`, with faults. */
export function labelsFile(random: Random, files: readonly string[]): Uint8Array {
  const label = (i: number) =>
    random.chance(0.7) ? `${i % 5}` : random.pick([
      "",
      "-1",
      "1.5",
      "1e3",
      "999999999",
      "99999999999999999999",
      "x",
      '"1"',
      " 2 ",
    ]);
  const name = (file: string) =>
    random.chance(0.8) ? file : random.pick([`./${file}`, `"${file}"`, `"${file}`, ...ODD_TEXTS]);
  const header = random.pick([
    "file,label",
    "file,label",
    "label,file",
    "file,x,label",
    "file",
    "",
  ]);
  const lines = files.map((file, i) =>
    header.startsWith("label") ? `${label(i)},${name(file)}` : `${name(file)},${label(i)}`
  );
  const end = random.pick(["\n", "\r\n", "\n\n", "\r", ""]);
  const text = new TextEncoder().encode([header, ...lines].join(end));
  if (random.chance(0.1)) return Uint8Array.from([0xff, 0xfe, ...text]);
  return random.chance(0.3) ? mutateBytes(random, text) : text;
}

/** Six samples for the inputs `shapes` as lines of JSON, with faults. */
export function linesFile(
  random: Random,
  shapes: Readonly<Record<string, readonly number[]>>,
): Uint8Array {
  const nested = ([size, ...rest]: readonly number[]): unknown =>
    size === undefined ? random.below(3) : Array.from({ length: size }, () => nested(rest));
  const odd = () =>
    random.pick<unknown>([
      ...[null, "1", true, 0.5, -1, 1e39, 2 ** 53, {}, [], [[]], [1, [2]], { dims: [2] }],
      ...[{ dims: [1], data: [1] }, { dims: [-1, 1e300], data: "12" }, { inputs: [1] }],
      ...ODD_TEXTS,
    ]);
  const line = () => {
    const tensors = Object.entries(shapes).map(([name, dims]) => {
      const value = random.chance(0.95) ? nested(dims) : odd();
      return [random.chance(0.97) ? name : random.pick(ODD_TEXTS), value] as const;
    });
    const named = Object.fromEntries(tensors);
    const label = random.chance(0.8) ? random.below(3) : odd();
    const sample = random.do<unknown>([
      () => named,
      () => ({ ...named, label }),
      () => ({ inputs: named, label, source: random.pick(ODD_TEXTS) }),
      () => random.chance(0.9) ? named : odd(),
    ]);
    const deep = random.chance(0.02) ? random.pick([40, 20_000]) : 0;
    return "[".repeat(deep) + JSON.stringify(sample) + "]".repeat(deep);
  };
  const lines = Array.from({ length: 6 }, line).join(random.pick(["\n", "\r\n", "\n\n", "\r"]));
  const text = new TextEncoder().encode(lines);
  return random.chance(0.3) ? mutateBytes(random, text) : text;
}

/** Values of flags by what the help calls them, lawful ones among them. */
const VALUES: Readonly<Record<string, readonly string[]>> = {
  N: ["0", "1", "2", "3", "8", "9", "-1", "2.5", "1e3", "0x4", "ternary", "mixed", "mixed:2,4"],
  "N,N,…": ["8,4", "8,6,4,3", "4,8", "8", "8,8", "8,", "a,b", "8,4,2,1"],
  KIND: [
    "tensor",
    "channel",
    "block:8",
    "block:32",
    "block:0",
    "uniform",
    "piecewise",
    "block:1e9",
  ],
  NAME: ["qdq", "packed", "matmulnbits", "float", "web", "imagenet", "unit", "raw"],
  METHOD: ["nearest", "attention", "adaround", "stochastic", "mse", "minmax", "percentile:99"],
  "NAME=N": ["one=8", "two=skip", "*=4", "*=skip", "one=ternary", "=3", "none=4", "one=0", "*=9"],
  TIME: ["1s", "0s", "0.1s", "-1s", "1x", "1e3s"],
  X: ["0.01", "0", "1", "-1", "1e-30", "10"],
  SIZE: ["2kB", "1kB", "0", "1GB", "-1B", "1e400MB", "2 kB"],
  HOW: ["coding-length", "coding-length:joint", "nuclear", "gradient", "hessian-trace", "clusters"],
  "FROM..TO": ["2..3", "3..2", "2..9", "a..b", "4..4"],
  "R,G,B": ["0.5,0.5,0.5", "0,0,0", "1", "NaN,0,0", "0.1,0.2", "-1,-1,-1"],
  PIXELS: ["8", "none", "1", "0", "8x8", "8x", "100000", "8x8x8"],
  ORDER: ["NCHW", "NHWC", "CHW"],
  K: ["0", "1", "x=0", "x=9", "=1", "y=0", "-1"],
  MB: ["0", "1", "-1", "1e9"],
};
/** Flags whose lawful values are work for hours, more threads, or another runtime. */
const LEFT_OUT = [
  "threads",
  "backend",
  "iterations",
  "candidates",
  "help",
  "verbose",
  "relaxed-simd",
];

/** Up to five flags of `command`; those with paths get one of `paths`. */
export function flagsOf(random: Random, command: Command, paths: readonly string[]): string[] {
  const names = Object.keys(command.flags).filter((name) => !LEFT_OUT.includes(name));
  return Array.from({ length: random.below(6) }, () => {
    const name = random.pick(names), { value } = command.flags[name];
    if (value === undefined) return [`--${random.chance(0.3) ? "no-" : ""}${name}`];
    const path = value === "PATH" || value === "FILE" || value === "DIR";
    const choices = path ? paths : random.chance(0.9) ? VALUES[value] ?? ["1"] : ODD_TEXTS;
    // Arguments end at a null character, so none has one.
    return [`--${name}=${random.pick(choices).replaceAll("\0", "")}`];
  }).flat();
}
