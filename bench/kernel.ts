/**
 * Speed of the kernel on one thread, beside onnxruntime-web's MatMul on one thread:
 * `deno run -A bench/kernel.ts [products | lattice]`. Rates count one multiply and one add as two
 * operations; the best of several runs is taken, and the contestants take turns, so that a busy
 * machine bends all alike.
 *
 * @module
 */

import { create, toBinary } from "@bufbuild/protobuf";
import { makeNode } from "../src/onnx/model.ts";
import {
  GraphProtoSchema,
  ModelProtoSchema,
  OperatorSetIdProtoSchema,
  ValueInfoProtoSchema,
} from "../src/onnx/gen/onnx_pb.ts";
import { Kernel } from "../src/kernel/kernel.ts";
import { relaxedModule } from "../src/kernel/relaxed.ts";
import { loadBackend } from "../src/runtime/backends.ts";

/** One thing to time: `work` does `operations` floating-point operations. */
interface Contestant {
  readonly name: string;
  readonly operations: number;
  readonly setup?: () => void;
  readonly work: () => void | Promise<void>;
}

/** Runs all in turn, `rounds` times; returns each one's best rate in GFLOP/s. */
async function race(contestants: readonly Contestant[], rounds: number): Promise<number[]> {
  const best = contestants.map(() => Infinity);
  for (let round = 0; round < rounds; round++) {
    for (const [i, { setup, work }] of contestants.entries()) {
      setup?.();
      const start = performance.now();
      await work();
      best[i] = Math.min(best[i], performance.now() - start);
    }
  }
  return contestants.map(({ operations }, i) => operations / best[i] / 1e6);
}

/** Numbers in [−1, 1) from a linear congruential generator. */
function noise(length: number): Float32Array {
  const out = new Float32Array(length);
  for (let i = 0, state = 1; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    out[i] = state / 2 ** 31;
  }
  return out;
}

/** The bytes of a model with one MatMul of two square inputs. */
function matMulModel(n: number): Uint8Array {
  const shape = { dim: [n, n].map((v) => ({ value: { case: "dimValue", value: BigInt(v) } })) };
  const value = (name: string) =>
    create(ValueInfoProtoSchema, {
      name,
      type: { value: { case: "tensorType", value: { elemType: 1, shape } } },
    } as never);
  const graph = create(GraphProtoSchema, {
    name: "g",
    node: [makeNode("MatMul", "m", ["a", "b"], ["c"])],
    input: [value("a"), value("b")],
    output: [value("c")],
  });
  const opset = create(OperatorSetIdProtoSchema, { domain: "", version: 13n });
  const model = create(ModelProtoSchema, { irVersion: 8n, opsetImport: [opset], graph });
  return toBinary(ModelProtoSchema, model);
}

const only = Deno.args[0];
const kernel = Kernel.create();
const relaxed = Kernel.create(await relaxedModule());

/** Prints each rate, and what it is of the first. */
function print(contestants: readonly Contestant[], rates: readonly number[]): void {
  for (const [i, { name }] of contestants.entries()) {
    const ratio = (rates[i] / rates[0]).toFixed(2);
    console.log(`${name.padEnd(44)} ${rates[i].toFixed(1).padStart(6)} GFLOP/s  ${ratio} x`);
  }
  console.log();
}

/** Products of n × n matrices against onnxruntime-web. */
async function products(n: number, rounds: number): Promise<void> {
  const values = noise(n * n);
  const session = await (await loadBackend("web")).open(matMulModel(n));
  const feed = { type: "float32", dims: [n, n], data: values };
  const mark = kernel.mark(), relaxedMark = relaxed.mark();
  const a = kernel.f32(values), b = kernel.f32(values), c = kernel.f32(n * n);
  const sum = kernel.f32(n);
  const others = { y: relaxed.f32(values), x: relaxed.f32(values), r: relaxed.f32(n * n) };
  const operations = 2 * n ** 3;
  const all: Contestant[] = [
    {
      name: `onnxruntime-web MatMul ${n}`,
      operations,
      work: async () => void await session.run({ a: feed, b: feed }),
    },
    {
      name: `cross ${n}`,
      operations,
      work: () => kernel.cross({ y: a, x: b, r: c, groups: 1, o: n, d: n, p: n }),
    },
    {
      name: `cross ${n}, relaxed build`,
      operations,
      work: () => relaxed.cross({ ...others, groups: 1, o: n, d: n, p: n }),
    },
    {
      name: `gram ${n}, ${n} positions (half is computed)`,
      operations: n ** 3,
      work: () => kernel.gram({ x: a, h: c, sum, groups: 1, d: n, p: n }),
    },
  ];
  print(all, await race(all, rounds));
  await session.release();
  kernel.reset(mark);
  relaxed.reset(relaxedMark);
}

/** Factors and lattice rounding against the kernel's own product. */
async function lattice(): Promise<void> {
  const d = 2304, rows = 64, n = 1024;
  const mark = kernel.mark();
  const a = kernel.f32(noise(n * n)), b = kernel.f32(noise(n * n)), c = kernel.f32(n * n);
  const x = kernel.f32(noise(2 * d * d)), h = kernel.f32(d * d);
  kernel.gram({ x, h, sum: kernel.f32(d), groups: 1, d, p: 2 * d });
  kernel.mirror({ h, groups: 1, d });
  const u = kernel.f32(h);
  const target = kernel.f32(noise(rows * d)), q = kernel.f32(rows * d), loss = kernel.f32(rows);
  const scale = kernel.f32(new Float32Array(rows).fill(1 / 7));
  const spread = kernel.f32(new Float32Array(d).fill(1));
  const lo = kernel.f32(new Float32Array(rows).fill(-8)), span = 15;
  const problem = { target, scale, groupSize: d, lo, span, rows, groups: 1, d, q, loss };
  const sequential = (rows: number, candidates: number): Contestant => {
    const taus = kernel.f32(Float32Array.from({ length: candidates }, (_, k) => k / 64));
    return {
      name: `sequential ${rows} x ${d}, K = ${candidates}`,
      operations: rows * candidates * d * d,
      work: () => kernel.sequential({ ...problem, rows, u, spread, taus, seed: 1, stream: 0 }),
    };
  };
  const all: Contestant[] = [
    {
      name: `cross ${n}`,
      operations: 2 * n ** 3,
      work: () => kernel.cross({ y: a, x: b, r: c, groups: 1, o: n, d: n, p: n }),
    },
    {
      name: `cholesky ${d}`,
      operations: d ** 3 / 3,
      setup: () => u.view.set(h.view),
      work: () => void kernel.cholesky({ h: u, groups: 1, n: d }),
    },
    {
      name: `solve ${rows} x ${d}`,
      operations: 2 * rows * d * d,
      setup: () => q.view.set(target.view),
      work: () => kernel.solve({ u, b: q, groups: 1, rows, n: d }),
    },
    sequential(rows, 1),
    sequential(rows, 16),
    // A row alone fills one lane of a panel; its candidates fill the others.
    sequential(1, 1),
    sequential(1, 16),
    {
      name: `loss ${rows} x ${d}`,
      operations: 2 * rows * d * d,
      work: () => kernel.loss({ ...problem, h }),
    },
  ];
  print(all, await race(all, 6));
  kernel.reset(mark);
}

if (only !== "lattice") {
  for (const [n, rounds] of [[256, 60], [512, 40], [1024, 8], [2304, 3], [4608, 1]]) {
    await products(n, rounds);
  }
}
if (only !== "products") await lattice();
