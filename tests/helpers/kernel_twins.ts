// Runs a method of the kernel and its plain TypeScript twin on copies of the same arrays.

import { assert } from "std/assert/assert.js";
import { Kernel } from "../../src/kernel/kernel.ts";

type Args = Record<string, unknown>;
type Twin<A> = (args: A) => unknown;

/** What runs methods of `kernel`; every call frees what it allocated. */
export function runnerOf<K extends Kernel>(kernel: K) {
  /** Calls `method` of the kernel on `args`, whose arrays are copied in and, afterwards, out. */
  function onKernel<A extends Args>(method: keyof K, args: A): { args: A; result: unknown } {
    const mark = kernel.mark();
    const buffers = Object.entries(args).filter(([, value]) => value instanceof Float32Array)
      .map(([name, value]) => [name, kernel.f32(value as Float32Array)] as const);
    const call = kernel[method] as (args: unknown) => unknown;
    const result = call.call(kernel, { ...args, ...Object.fromEntries(buffers) });
    const out = buffers.map(([name, buffer]) => [name, buffer.view.slice()]);
    kernel.reset(mark);
    return { args: { ...args, ...Object.fromEntries(out) }, result };
  }

  /** What the kernel and the twin make of the same arguments. */
  function both<A extends Args>(
    method: keyof K,
    twin: Twin<A>,
    args: A,
  ): { kernel: A; twin: A; results: [unknown, unknown] } {
    const { args: changed, result } = onKernel(method, args);
    const copy = Object.fromEntries(
      Object.entries(args).map(([name, value]) => [
        name,
        value instanceof Float32Array ? value.slice() : value,
      ]),
    ) as A;
    const expected = twin(copy);
    return { kernel: changed, twin: copy, results: [result, expected] };
  }

  return { onKernel, both };
}

/** On the kernel that travels with the library: one for all tests of a file. */
export const { onKernel, both } = runnerOf(Kernel.create());

/** Asserts |a − b| ≤ tolerance · max(1, |b|) element by element. */
export function assertClose(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  tolerance: number,
  what = "",
): void {
  assert(a.length === b.length, `${what}: ${a.length} elements, not ${b.length}`);
  for (let i = 0; i < a.length; i++) {
    const limit = tolerance * Math.max(1, Math.abs(b[i]));
    assert(Math.abs(a[i] - b[i]) <= limit, `${what}: element ${i} is ${a[i]}, not ${b[i]}`);
  }
}

/**
 * Numbers that look normal, from a generator that shares nothing with the kernel's (mulberry32).
 */
export function random(length: number, seed: number): Float32Array {
  let state = seed * 0x9E3779B9 | 0;
  const next = () => {
    state = state + 0x6D2B79F5 | 0;
    let t = Math.imul(state ^ state >>> 15, 1 | state);
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
    return ((t ^ t >>> 14) >>> 0) / 2 ** 32;
  };
  return Float32Array.from(
    { length },
    () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()),
  );
}

/** Levels lo … hi for each of `rows` rows. */
export function windows(rows: number, lo: number, hi: number) {
  return { lo: new Float32Array(rows).fill(lo), span: hi - lo };
}

/** Eight levels for each of `rows` rows, from −5, −4 or −3 on. */
export function variedWindows(rows: number) {
  return { lo: Float32Array.from({ length: rows }, (_, row) => row % 3 - 5), span: 7 };
}

/** groups symmetric positive definite d × d matrices: A Aᵀ / d + ridge · I, and their factors. */
export function spd(groups: number, d: number, seed: number, ridge = 0.05) {
  const h = new Float32Array(groups * d * d);
  for (let g = 0; g < groups; g++) {
    const a = random(d * d, seed + g);
    // Columns that have something in common, as neighbours in an image do.
    for (let i = d; i < d * d; i++) a[i] = 0.6 * a[i - d] + 0.8 * a[i];
    for (let i = 0; i < d; i++) {
      for (let j = 0; j < d; j++) {
        let sum = i === j ? ridge : 0;
        for (let k = 0; k < d; k++) sum += a[i * d + k] * a[j * d + k] / d;
        h[(g * d + i) * d + j] = sum;
      }
    }
  }
  const { u } = { u: onKernel("cholesky", { h, groups, n: d }).args.h };
  return { h, u };
}
