/** Seeded choices: the same seed gives the same inputs, wherever they are made. */

import { createRandom } from "../../examples/shapes/draw.ts";

/** A source of choices. */
export class Random {
  readonly #next: () => number;

  /** Choices that depend on `seed` and `name` alone. */
  constructor(seed: number, name = "") {
    let state = seed | 0;
    for (const character of name) state = Math.imul(state, 31) + character.codePointAt(0)! | 0;
    this.#next = createRandom(Math.imul(state, 0x9e3779b1));
  }

  /** A whole number from 0 to `count` − 1. */
  below(count: number): number {
    return Math.floor(this.#next() * count);
  }

  /** Whether something of probability `share` happens. */
  chance(share: number): boolean {
    return this.#next() < share;
  }

  /** One of `choices`. */
  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)];
  }

  /** Calls one of `choices`. */
  do<T>(choices: readonly (() => T)[]): T {
    return this.pick(choices)();
  }
}

/** Texts that names, paths and values are rarely made of. */
export const ODD_TEXTS: readonly string[] = [
  "",
  " ",
  "__proto__",
  "constructor",
  "hasOwnProperty",
  "toString",
  "a\x1b[2Jb",
  "\u202ex",
  "a\nb",
  "\u0000",
  "../x",
  "/",
  "*",
  "x".repeat(300),
  "é\u0301😀",
  "NaN",
  "-1",
];

/** `bytes` with a few of them changed, cut off, doubled, moved or made up. */
export function mutateBytes(random: Random, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const at = random.below(bytes.length + 1), to = at + random.below(bytes.length - at + 1);
  const [before, part, after] = [bytes.subarray(0, at), bytes.subarray(at, to), bytes.subarray(to)];
  const joined = (...parts: Uint8Array[]) => {
    const all = new Uint8Array(parts.reduce((sum, each) => sum + each.length, 0));
    let offset = 0;
    for (const each of parts) {
      all.set(each, offset);
      offset += each.length;
    }
    return all;
  };
  return random.do([
    () => joined(before),
    () => joined(before, after),
    () => joined(before, part, part, after),
    () => joined(after, before),
    () => joined(before, Uint8Array.from({ length: random.below(20) }, () => random.below(256))),
    () => {
      const changed = Uint8Array.from(bytes);
      for (let i = random.below(4); i >= 0 && changed.length > 0; i--) {
        changed[random.below(changed.length)] = random.pick([0, 1, 0x7f, 0x80, 0xff, at & 255]);
      }
      return changed;
    },
  ]);
}
