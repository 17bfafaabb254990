/**
 * What a mistyped word was probably meant to be.
 *
 * @module
 */

import { closestMatch } from "leven";

/** Letters that may be wrong: this share of the word, and no more than {@linkcode MOST}. */
const SHARE = 0.4;
const MOST = 3;

/**
 * The end of a sentence that offers the word of `known` that `given` is the beginning of, or else
 * resembles; empty where it resembles none.
 *
 * @param shown What is offered in place of a word. Default: the word itself.
 * @example
 * ```ts
 * import { didYouMean } from "./did_you_mean.ts";
 *
 * const [typo, other] = ["inpsect", "squeeze"].map((word) => didYouMean(word, ["inspect", "cut"]));
 * if (typo !== "; did you mean inspect?" || other !== "") throw new Error(typo + other);
 * ```
 */
export function didYouMean(
  given: string,
  known: readonly string[],
  shown: ReadonlyMap<string, string> = new Map(),
): string {
  const word = given.toLowerCase(),
    byWord = new Map(known.map((each) => [each.toLowerCase(), each]));
  const words = [...byWord.keys()];
  const maxDistance = Math.min(MOST, Math.ceil(SHARE * word.length));
  const match = words.find((each) => word !== "" && each.startsWith(word)) ??
    closestMatch(word, words, { maxDistance });
  const found = match === undefined ? undefined : byWord.get(match)!;
  return found === undefined ? "" : `; did you mean ${shown.get(found) ?? found}?`;
}
