/** Images are resized as Pillow does it, to the last bit. */

import { assertEquals } from "std/assert/equals.js";
import { type ResizeFilter, resizePixels } from "../src/samples/resize.ts";

type Case = readonly [
  from: readonly [width: number, height: number],
  to: readonly [width: number, height: number],
  channels: 1 | 3,
  digests: Readonly<Record<ResizeFilter, string>>,
];

/**
 * The first bytes of the SHA-256 of what Pillow 9.4.0 makes of noise:
 * `Image.frombytes("RGB" or "L", from, noise).resize(to, Image.BILINEAR or Image.BICUBIC)`.
 */
const CASES: readonly Case[] = [
  [[37, 23], [12, 8], 3, { bilinear: "98062edbb25a57ec", bicubic: "d9678f56342367e3" }],
  [[37, 23], [80, 50], 3, { bilinear: "8d8391931e525748", bicubic: "4a18c94187787a3f" }],
  [[64, 48], [64, 16], 1, { bilinear: "d8d298ea0ad9b67e", bicubic: "358041ecf09422e8" }],
  [[5, 7], [3, 11], 1, { bilinear: "ea5aeee3178e54f9", bicubic: "4a5f3e609d272193" }],
  [[300, 200], [17, 256], 3, { bilinear: "57f9a643c21fbb23", bicubic: "b2546de38c28c6f9" }],
  [[1, 1], [4, 4], 3, { bilinear: "7e69e2dd3e36c500", bicubic: "7e69e2dd3e36c500" }],
  [[123, 77], [60, 38], 3, { bilinear: "c9084d37b3094fdb", bicubic: "65f822fb36ebe6d9" }],
];

/** The upper bytes of a linear congruential generator that starts with 1. */
function noise(count: number): Uint8Array {
  let state = 1;
  return new Uint8Array(count).map(() => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
}

for (const [[width, height], to, channels, digests] of CASES) {
  const size = { width: to[0], height: to[1] };
  Deno.test(`${width}×${height}×${channels} resized to ${to.join("×")} is what Pillow makes`, async () => {
    const pixels = { width, height, channels, data: noise(width * height * channels) };
    for (const [filter, digest] of Object.entries(digests)) {
      const resized = resizePixels(pixels, size, filter as ResizeFilter);
      assertEquals([resized.width, resized.height], to);
      const bytes = await crypto.subtle.digest("SHA-256", resized.data as Uint8Array<ArrayBuffer>);
      assertEquals(new Uint8Array(bytes).toHex().slice(0, 16), digest, filter);
    }
  });
}
