/**
 * Text from elsewhere, safe to show.
 *
 * @module
 */

/** Characters that steer a terminal, break a line, or turn the direction of what follows. */
const STEERING = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

/**
 * `text` with control characters, line breaks and turns of direction written as in JSON (`\u001b`).
 * Names in models and of files come from elsewhere, and a terminal would obey them.
 *
 * @example
 * ```ts
 * import { printable } from "./printable.ts";
 *
 * if (printable("conv\x1b[2J") !== "conv\\u001b[2J") throw new Error("unexpected");
 * ```
 */
export function printable(text: string): string {
  return text.replace(
    STEERING,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
