import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { level } from "./twins/kernel.ts";
import * as reference from "./twins/codebooks.ts";
import { both, onKernel, random, spd } from "./helpers/kernel_twins.ts";

/** What 16 codes stand for, read as 4, 3 and 2 bits; unevenly spaced in the second. */
const VALUES = [
  Array.from({ length: 16 }, (_, code) => code - 8),
  [-5, -5, -3, -3, -2, -2, -1, -1, 0, 0, 1, 1, 2, 2, 4, 4],
  Array.from({ length: 16 }, (_, code) => Math.min(1, Math.floor((code + 2) / 4) - 2)),
];

/** A problem of random weights: targets, scales and metrics of each width differ. */
function problem(
  { groups = 1, rows = 1, d, groupSize = d, widths = 3, seed = 1 }: {
    groups?: number;
    rows?: number;
    d: number;
    groupSize?: number;
    widths?: number;
    seed?: number;
  },
) {
  const all = groups * rows, perRow = Math.ceil(d / groupSize);
  const { h, u } = spd(widths * groups, d, seed + 7);
  const base = random(all * d, seed), steps = random(all * perRow, seed + 1);
  const target = new Float32Array(widths * all * d),
    scale = new Float32Array(widths * all * perRow);
  const other = random(target.length, seed + 2);
  for (let b = 0; b < widths; b++) {
    for (let i = 0; i < all * d; i++) {
      target[b * all * d + i] = base[i] + 0.1 * other[b * all * d + i];
    }
    for (let i = 0; i < all * perRow; i++) {
      scale[b * all * perRow + i] = 2 ** b * (0.25 + 0.05 * Math.abs(steps[i]));
    }
  }
  return {
    groups,
    rows,
    d,
    widths,
    values: Float32Array.from(VALUES.slice(0, widths).flat()),
    target,
    scale,
    groupSize,
    price: random(widths * all, seed + 3).map((value) => 0.2 + Math.abs(value)),
    // Small enough to leave most weights within the levels.
    offset: random(all, seed + 5).map((value) => value > 0.5 ? 1 : value < -0.5 ? -1 : 0),
    code: new Float32Array(all * d),
    h,
    u,
    spread: random(widths * groups * d, seed + 4).map(Math.abs),
    tau: 0,
    candidate: 0,
    seed: 9,
    stream: 4,
    sweeps: 30,
  };
}

const SHAPES = [
  { rows: 0, d: 4 },
  { rows: 3, d: 1 },
  { rows: 5, d: 15, groupSize: 4 },
  { rows: 2, d: 16, widths: 1 },
  { rows: 3, d: 17, groupSize: 16, widths: 2 },
  { groups: 7, rows: 1, d: 9 },
  { groups: 2, rows: 20, d: 33 },
  { rows: 3, d: 70, groupSize: 32 },
];

/** Σ price · (ŵ − w) H (ŵ − w)ᵀ of each row. */
function objective(args: ReturnType<typeof problem>): number[] {
  const { groups, rows, d, widths, values, offset, target, scale, groupSize, price, code, h } =
    args;
  const all = groups * rows, perRow = Math.ceil(d / groupSize), codes = values.length / widths;
  return Array.from({ length: all }, (_, row) => {
    let sum = 0;
    for (let b = 0; b < widths; b++) {
      const error = Float64Array.from({ length: d }, (_, i) => {
        const s = scale[(b * all + row) * perRow + Math.floor(i / groupSize)];
        return s * (values[b * codes + code[row * d + i]] + offset[row]) -
          target[(b * all + row) * d + i];
      });
      const metric = h.subarray((b * groups + Math.floor(row / rows)) * d * d);
      for (let i = 0; i < d; i++) {
        for (let j = 0; j < d; j++) {
          sum += price[b * all + row] * error[i] * metric[i * d + j] * error[j];
        }
      }
    }
    return sum;
  });
}

Deno.test("codesSequential: agrees with the twin, with and without draws", () => {
  for (const shape of SHAPES) {
    for (const tau of [0, 0.3]) {
      const args = { ...problem(shape), tau, candidate: tau === 0 ? 0 : 3 };
      const { kernel, twin } = both("codesSequential", reference.codesSequential, args);
      assertEquals(kernel.code, twin.code, JSON.stringify({ shape, tau }));
    }
  }
});

Deno.test("codesSequential: one width of all integers is the nearest plane", () => {
  const args = {
    ...problem({ groups: 2, rows: 5, d: 40, widths: 1 }),
    offset: new Float32Array(10),
  };
  const { code } = onKernel("codesSequential", args).args;
  const { q } = onKernel("sequential", {
    ...args,
    lo: new Float32Array(10).fill(-8),
    span: 15,
    taus: Float32Array.of(0),
    q: new Float32Array(400),
    loss: new Float32Array(10),
  }).args;
  assertEquals(code.map((value) => value - 8), q.map((value) => value + 0));
});

Deno.test("codes: among equal ones the lowest, at ties as elsewhere", () => {
  // Without correlation each weight is on its own; targets lie between two levels.
  const d = 17, target = Float32Array.from({ length: d }, (_, i) => i - 8.5);
  const one = Float32Array.of(1), identity = new Float32Array(d * d);
  for (let i = 0; i < d; i++) identity[i * d + i] = 1;
  const args = {
    ...problem({ d, widths: 1 }),
    target,
    scale: one,
    price: one,
    offset: new Float32Array(1),
    u: identity,
    h: identity,
  };
  const expected = target.map((t) => Math.max(0, Math.min(15, Math.ceil(t - 0.5) + 8)));
  const { code } = onKernel("codesSequential", args).args;
  assertEquals(code, expected);
  assertEquals(onKernel("codesPolish", { ...args, code }).args.code, expected);
  // Codes that stand for the same value.
  const values = Float32Array.from(VALUES[1]);
  const doubled = onKernel("codesSequential", { ...args, values }).args.code;
  assert(doubled.every((c) => c % 2 === 0), `${doubled}`);
});

Deno.test("codesPolish: agrees with the twin, and never raises the objective", () => {
  for (const shape of SHAPES) {
    const start = problem(shape);
    // The nearest codes of the first width.
    const { scale, target, d, groupSize } = start, perRow = Math.ceil(d / groupSize);
    start.code.forEach((_, at) => {
      const s = scale[Math.floor(at / d) * perRow + Math.floor(at % d / groupSize)];
      start.code[at] = level(target[at] / s, -8, 7) + 8;
    });
    const { kernel, twin } = both("codesPolish", reference.codesPolish, start);
    assertEquals(kernel.code, twin.code, JSON.stringify(shape));
    const before = objective(start), after = objective(kernel);
    after.forEach((value, row) => assert(value <= before[row] * (1 + 1e-6)));
    if (start.code.length > 0) assert(after.some((value, row) => value < before[row]));
    assertEquals(onKernel("codesPolish", kernel).args.code, kernel.code);
  }
});

Deno.test("codes: agree with the twins past a tile of rows and a product's panels", () => {
  for (const shape of [{ rows: 3, d: 300, groupSize: 100 }, { rows: 140, d: 12 }]) {
    const args = problem({ ...shape, widths: 2 });
    const rounded = both("codesSequential", reference.codesSequential, args);
    assertEquals(rounded.kernel.code, rounded.twin.code);
    const polished = both("codesPolish", reference.codesPolish, { ...rounded.kernel, sweeps: 3 });
    assertEquals(polished.kernel.code, polished.twin.code);
  }
});

Deno.test("codes: to the last bit the same, however rows and groups are split", () => {
  for (const [groups, rows, d] of [[1, 37, 45], [19, 2, 9]]) {
    const whole = { ...problem({ groups, rows, d }), tau: 0.3, candidate: 1 };
    const find = (args: typeof whole) => {
      const rounded = onKernel("codesSequential", args).args;
      return [rounded.code, onKernel("codesPolish", rounded).args.code];
    };
    const expected = find(whole), parts = groups > 1 ? groups : rows;
    for (const [from, to] of [[0, 1], [1, 8], [parts - 6, parts]]) {
      const perGroup = groups > 1 ? rows : 1, first = from * perGroup, last = to * perGroup;
      /** Elements from … to − 1 of each width's part of an array. */
      const take = (array: Float32Array, count: number, a: number, b: number) => {
        const width = array.length / count / whole.widths, out: number[] = [];
        for (let r = 0; r < whole.widths; r++) {
          out.push(...array.subarray((r * count + a) * width, (r * count + b) * width));
        }
        return Float32Array.from(out);
      };
      const ofRows = (array: Float32Array) => take(array, groups * rows, first, last);
      const ofGroups = (array: Float32Array) =>
        groups > 1 ? take(array, groups, from, to) : array.slice();
      const share = find({
        ...whole,
        groups: groups > 1 ? to - from : 1,
        rows: groups > 1 ? rows : to - from,
        stream: whole.stream + first,
        target: ofRows(whole.target),
        scale: ofRows(whole.scale),
        price: ofRows(whole.price),
        offset: whole.offset.slice(first, last),
        u: ofGroups(whole.u),
        h: ofGroups(whole.h),
        spread: ofGroups(whole.spread),
        code: new Float32Array((last - first) * d),
      });
      assertEquals(share, expected.map((code) => code.slice(first * d, last * d)));
    }
  }
});

Deno.test("codes: a row with NaN leaves the others alone", () => {
  const args = problem({ rows: 5, d: 12 }), clean = onKernel("codesSequential", args).args.code;
  const target = args.target.slice();
  target[2 * 12 + 5] = NaN;
  const { code } = onKernel("codesSequential", { ...args, target }).args;
  for (const row of [0, 1, 3, 4]) {
    assertEquals(code.slice(row * 12, (row + 1) * 12), clean.slice(row * 12, (row + 1) * 12));
  }
  assert(code.every((c) => c >= 0 && c < 16));
});
