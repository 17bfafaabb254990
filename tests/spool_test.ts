/** Spools in memory, in files, and in both: what goes in comes out. */

import { assertEquals } from "std/assert/equals.js";
import { assertThrows } from "std/assert/throws.js";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AttuneError } from "../src/errors.ts";
import { regionStore } from "../src/engine/opfs_spool.ts";
import { fileSpools } from "../src/engine/file_spool.ts";
import { type Batch, cachedSpools, memorySpool, type SpoolFactory } from "../src/engine/spool.ts";
import { noise } from "./helpers/models.ts";

/** Batches of three samples, the last of two; `b` has two rows per sample. */
const batches: Batch[] = [3, 3, 3, 2].map((size, i) => ({
  a: { type: "float32", dims: [size, 4, 5], data: noise(size * 20, i + 1) },
  b: {
    type: "int64",
    dims: [2 * size],
    data: BigInt64Array.from({ length: 2 * size }, (_, j) => BigInt(10 * i + j)),
  },
}));

Deno.test("spools: batches and single samples come back as they were, and leave nothing behind", () => {
  const folder = mkdtempSync(join(tmpdir(), "attune-test-"));
  const bytes = Object.values(batches[0]).reduce((sum, { data }) => sum + data.byteLength, 0);
  const kinds: Record<string, SpoolFactory> = {
    memory: memorySpool,
    files: fileSpools(folder),
    "two batches in memory": cachedSpools(2 * bytes, fileSpools(folder)),
    "none in memory": cachedSpools(0, fileSpools(folder)),
    "all in memory": cachedSpools(1e9, fileSpools(folder)),
  };
  for (const [kind, make] of Object.entries(kinds)) {
    // Twice, since what a spool held in memory is free again after it.
    for (let round = 0; round < 2; round++) {
      using spool = make();
      for (const batch of batches) spool.append(batch);
      assertEquals(spool.length, 4, kind);
      batches.forEach((batch, i) => assertEquals(spool.read(i), batch, kind));
      const at = (batch: number, row: number) => ({ batch, row, of: batch === 3 ? 2 : 3 });
      const picked = spool.pick([at(2, 1), at(0, 2), at(3, 0)], ["a", "b"]);
      assertEquals(picked.a.dims, [3, 4, 5], kind);
      assertEquals(picked.b, {
        type: "int64",
        dims: [6],
        data: BigInt64Array.of(22n, 23n, 4n, 5n, 30n, 31n),
      });
      const rows = [[2, 1], [0, 2], [3, 0]].flatMap(([batch, row]) => [
        ...(batches[batch].a.data as Float32Array).subarray(20 * row, 20 * (row + 1)),
      ]);
      assertEquals([...picked.a.data as Float32Array], rows, kind);
      assertEquals(Object.keys(spool.pick([at(1, 1)], ["b"])), ["b"]);
    }
  }
  assertEquals(readdirSync(folder), []);
  rmSync(folder, { recursive: true });
});

Deno.test("spools: batches of one give even a single number, and none of another shape", () => {
  const folder = mkdtempSync(join(tmpdir(), "attune-test-"));
  const near = cachedSpools(1e9, fileSpools(folder));
  for (const make of [memorySpool, fileSpools(folder), near]) {
    using spool = make();
    for (const length of [4, 6]) {
      spool.append({
        one: { type: "float32", dims: [], data: Float32Array.of(length) },
        row: { type: "float32", dims: [1, length], data: noise(length) },
      });
    }
    const [first, second] = [0, 1].map((batch) => ({ batch, row: 0, of: 1 }));
    const { one, row } = spool.pick([second], ["one", "row"]);
    assertEquals([one.dims, one.data[0], row.dims], [[], 6, [1, 6]]);
    const message = "samples along its first axis";
    assertThrows(() => spool.pick([first, second], ["row"]), AttuneError, message);
    assertThrows(() => spool.pick([first, second], ["one"]), AttuneError, message);
  }
  rmSync(folder, { recursive: true });
});

Deno.test("regionStore: places that were freed are used again, and the file shrinks", () => {
  let bytes = new Uint8Array(0);
  const store = regionStore({
    read(into, { at }) {
      into.set(bytes.subarray(at, at + into.length));
      return Math.min(into.length, bytes.length - at);
    },
    write(from, { at }) {
      const grown = new Uint8Array(Math.max(bytes.length, at + from.length));
      grown.set(bytes);
      grown.set(from, at);
      bytes = grown;
      return from.length;
    },
    truncate: (size) => void (bytes = bytes.slice(0, size)),
    close() {},
  });
  const put = (value: number, size: number) => ({
    offset: store.write(new Uint8Array(size).fill(value)),
    bytes: size,
    value,
  });
  const parts = [put(1, 10), put(2, 20), put(3, 5), put(4, 8)];
  const check = () => {
    for (const { offset, bytes: size, value } of parts) {
      const read = new Uint8Array(size);
      store.read(read, offset);
      assertEquals(read, new Uint8Array(size).fill(value));
    }
  };
  check();
  store.free(parts.splice(0, 2));
  parts.push(put(5, 25), put(6, 5));
  assertEquals(parts.slice(-2).map(({ offset }) => offset), [0, 25]);
  check();
  // Freed out of order, neighbours become one place.
  store.free([parts[2], parts[0]]);
  store.free([parts[3]]);
  parts.splice(0, 4, parts[1]);
  check();
  parts.push(put(7, 35));
  assertEquals(parts[1].offset, 0);
  check();
  store.free(parts);
  assertEquals(bytes.length, 0);
});
