import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { levelWindows } from "../src/weights/levels.ts";

Deno.test("levelWindows: the usual one first, all with a level on either side of zero", () => {
  assertEquals(levelWindows(2, false), { span: 3, lows: [-2, -1] });
  assertEquals(levelWindows(3, false), { span: 7, lows: [-4, -3, -5, -2, -6, -1] });
  assertEquals(levelWindows(4, true), { span: 15, lows: [-8] });
  assertEquals(levelWindows(8, false), { span: 255, lows: [-128] });
  for (const bits of [2, 3, 4, 5, 6, 7]) {
    const { span, lows } = levelWindows(bits, false);
    assertEquals(lows[0], -(2 ** (bits - 1)));
    assertEquals(new Set(lows).size, lows.length);
    assert(lows.length <= 16 && lows.every((lo) => lo < 0 && lo + span > 0), `${bits}: ${lows}`);
  }
});
