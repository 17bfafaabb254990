/** Levels as bytes and back, in TypeScript and in the operators of a file. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertThrows } from "std/assert/throws.js";
import { buildModel, type Parts, type Rounding } from "../src/emit/build.ts";
import {
  type Coding,
  packLevels,
  unpackLevels,
  windowOffsets,
  withoutOffsets,
} from "../src/formats/packing.ts";
import { AttuneError } from "../src/errors.ts";
import { planeBytes, planesOf } from "../src/formats/planes.ts";
import type { Layout, PlaneWidth } from "../src/formats/planes.ts";
import { makePlan, type Plan } from "../src/plan/plan.ts";
import { serializeModel } from "../src/onnx/model.ts";
import { everyLayer, LAYER_NAMES, layerFeeds, madeUpParts } from "./helpers/layers.ts";
import { integerRuntimes } from "./helpers/integer_runtimes.ts";
import { noise } from "./helpers/models.ts";

const RUNTIMES = await integerRuntimes();
/** Cuts of a code as files of one model in several widths would have them. */
const NESTED: readonly (readonly PlaneWidth[])[] = [[4, 2, 2], [2, 1, 1, 2, 2], [1, 1, 1]];

/** `count` whole numbers from `lo` to `hi`, both among them. */
function whole(count: number, lo: number, hi: number): Int8Array {
  const values = noise(count, count + hi);
  return Int8Array.from(
    values,
    (v, i) => i === 0 ? lo : i === 1 ? hi : lo + Math.floor((v + 1) / 2 * (hi - lo + 1)),
  );
}

Deno.test("levels of every layout come back, whatever their number", () => {
  const layouts = [2, 3, 4, 5, 6, 7, 8].map(planesOf);
  layouts.push(...NESTED.map((widths): Layout => ({ kind: "planes", widths })));
  for (const layout of layouts) {
    if (layout.kind !== "planes") continue;
    const bits = layout.widths.reduce<number>((sum, width) => sum + width, 0);
    for (const signed of bits < 8 ? [true, false] : [true]) {
      const lo = signed ? -(2 ** (bits - 1)) : 0;
      for (let count = 1; count <= 33; count++) {
        const levels = whole(count, lo, lo + 2 ** bits - 1), coding = { layout, signed };
        const planes = packLevels(levels, coding);
        assertEquals(planes.map((plane) => plane.length), planeBytes(layout, count));
        assertEquals(unpackLevels(planes, count, coding), levels);
        const total = planes.reduce((sum, plane) => sum + plane.length, 0);
        assert(total * 8 <= (count + 7) * bits, `${bits} bits: ${total} bytes for ${count}`);
      }
    }
  }
});

Deno.test("five trits lie in a byte", () => {
  const coding: Coding = { layout: { kind: "trits" }, signed: true };
  for (let count = 1; count <= 33; count++) {
    const levels = whole(count, -1, 1), planes = packLevels(levels, coding);
    assertEquals(planes.map((plane) => plane.length), [Math.ceil(count / 5)]);
    assertEquals(unpackLevels(planes, count, coding), levels);
  }
  // 1 + 2·3 + 0·9 + 1·27 + 2·81.
  assertEquals(packLevels(Int8Array.of(1, -1, 0, 1, -1), coding), [Uint8Array.of(196)]);
});

Deno.test("the planes of 4 and 2 bits are ONNX's integers", () => {
  const four = packLevels(Int8Array.of(-8, 7, -1), { layout: planesOf(4), signed: true });
  assertEquals([...four[0].subarray(0, 2)], [0x78, 0x0f]);
  const two = packLevels(Int8Array.of(-2, 1, 0, -1, 1), { layout: planesOf(2), signed: true });
  assertEquals([...two[0]], [0b11000110, 0b00000001]);
});

Deno.test("a level that does not fit is refused", () => {
  const cases: [number, Coding][] = [
    [4, { layout: planesOf(3), signed: true }],
    [-5, { layout: planesOf(3), signed: true }],
    [-1, { layout: planesOf(3), signed: false }],
    [2, { layout: { kind: "trits" }, signed: true }],
  ];
  for (const [level, coding] of cases) {
    const error = assertThrows(() => packLevels(Int8Array.of(0, level), coding), AttuneError);
    assert(error.message.includes(`level ${level}`), error.message);
  }
});

Deno.test("rows are moved into the range of their width", () => {
  // Windows of 3 bits, from −4, −3 and −6 on.
  const lows = Int8Array.of(-4, -3, -6);
  assertEquals(windowOffsets(lows, 7, 3), Int8Array.of(0, 1, -2));
  assertEquals(windowOffsets(lows, 7, 4), Int8Array.of(0));
  assertEquals(windowOffsets(Int8Array.of(-3, -3), 7, 3), Int8Array.of(1));
  assertEquals(windowOffsets(Int8Array.of(-128, -128), 255, 8), Int8Array.of(0));
  assertEquals(
    withoutOffsets(Int8Array.of(-4, 3, 4, -3, -6, 1), Int8Array.of(0, 1, -2)),
    Int8Array.of(-4, 3, 3, -4, -4, 3),
  );
});

/** A plan whose layers are kept in `layout`. */
function planIn(layout: Layout, bits: number, activationBits: 8 | "none"): Plan {
  const made = makePlan(everyLayer(), { bits, edgeBits: bits, format: "packed", activationBits });
  return {
    ...made,
    layers: made.layers.map((layer) => ({ ...layer, storage: { ...layer.storage, layout } })),
  };
}

/**
 * Asserts that both runtimes compute with `parts` in a packed file what the simulation computes.
 */
async function assertFaithful(made: Plan, parts: Parts): Promise<void> {
  const exact = made.options.activationBits === "none";
  for (const runtime of RUNTIMES) {
    const outputs = [];
    for (const format of ["float", "packed"] as const) {
      const file = serializeModel(buildModel(made, parts, format));
      const session = await runtime.open(file, { simulate: format === "float" });
      outputs.push(await session.run(layerFeeds()));
      await session.release();
    }
    for (const name of LAYER_NAMES.map((layer) => `${layer}_y`)) {
      const [expected, values] = outputs.map((output) => output[name].data as Float32Array);
      const most = expected.reduce((m, v, i) => Math.max(m, Math.abs(v - values[i])), 0);
      assert(most <= (exact ? 1e-5 : 1 / 31), `${name} on ${runtime.name} is off by ${most}`);
    }
  }
}

/**
 * The parts of `made` with the levels that `levelsOf` gives, and a codebook, moved in every other
 * row.
 */
function partsWith(
  made: Plan,
  levelsOf: (count: number) => Int8Array,
  codebook?: Int8Array,
): Parts {
  const { roundings, grids } = madeUpParts(made);
  return {
    grids,
    roundings: new Map([...roundings].map(([name, rounding]): [string, Rounding] => {
      const levels = levelsOf(rounding.levels.length);
      if (codebook === undefined) return [name, { ...rounding, levels }];
      const offsets = rounding.lows.map((_, row) => row % 2),
        depth = levels.length / offsets.length;
      const moved = levels.map((level, i) => level + offsets[Math.floor(i / depth)]);
      const lows = offsets.map((offset) => codebook[0] + offset);
      return [name, { ...rounding, levels: moved, lows, codebook }];
    })),
  };
}

for (const activationBits of ["none", 8] as const) {
  Deno.test(`ternary levels are unpacked: activations ${activationBits}`, async () => {
    const made = planIn({ kind: "trits" }, 2, activationBits);
    await assertFaithful(made, partsWith(made, (count) => whole(count, -1, 1)));
  });

  Deno.test(`planes of any cut are unpacked: activations ${activationBits}`, async () => {
    for (const widths of NESTED) {
      const bits = widths.reduce<number>((sum, width) => sum + width, 0);
      const made = planIn({ kind: "planes", widths }, bits, activationBits);
      const half = 2 ** (bits - 1);
      await assertFaithful(made, partsWith(made, (count) => whole(count, -half, half - 1)));
    }
  });

  Deno.test(`levels of a codebook are unpacked: activations ${activationBits}`, async () => {
    const codebook = Int8Array.of(-31, -7, -2, 0, 1, 3, 8, 29);
    const made = planIn(planesOf(3), 3, activationBits);
    const levelsOf = (count: number) => whole(count, 0, 7).map((code) => codebook[code]);
    await assertFaithful(made, partsWith(made, levelsOf, codebook));
  });
}
