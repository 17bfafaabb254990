/**
 * The integer levels that weights may have.
 *
 * A weight of b bits has 2ᵇ consecutive levels. Where they begin is free, row by row, as long as
 * the file can say it: channels whose weights reach further to one side than to the other, as most
 * do that have few weights, lose much less. Files keep a level less the row's zero point.
 *
 * @module
 */

/** The levels of a row: `span + 1` of them, from one of `lows` on. */
export interface LevelWindows {
  /** Largest level less the smallest. */
  readonly span: number;
  /** Where a row's levels may begin; the usual place first. */
  readonly lows: readonly number[];
}

/**
 * Places that are tried for the first level of a row, at most: next to one another up to 4 bits.
 */
const PLACES = 16;

/**
 * The windows of `bits` bits. With 8 bits, or where `symmetric` is wished for, there is one, −2ᵇ⁻¹
 * to 2ᵇ⁻¹ − 1: integer kernels read bytes as they are, and 256 levels need no help.
 */
export function levelWindows(bits: number, symmetric: boolean): LevelWindows {
  const usual = -(2 ** (bits - 1)), span = 2 ** bits - 1, step = Math.max(1, 2 ** bits / PLACES);
  const lows = [usual];
  // At least one level lies on either side of zero.
  for (let away = step; bits < 8 && !symmetric && usual + away < 0; away += step) {
    lows.push(usual + away);
    if (usual - away + span > 0) lows.push(usual - away);
  }
  return { span, lows };
}
