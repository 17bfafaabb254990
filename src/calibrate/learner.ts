/**
 * What calibration asks of whoever learns segments of layers together, once each layer was rounded.
 *
 * @module
 */

import type { Parts, Rounding } from "../emit/build.ts";
import type { Types } from "../forward/open_part.ts";
import type { BlockReport } from "../report/report.ts";
import type { Segment } from "./segments.ts";

/** Milliseconds that went into the two kinds of work besides learning. */
export type Spent = Readonly<Record<"running" | "rounding", number>>;

/** Hears that a share of a segment's work is done, and of which layers. */
export type OnShare = (share: number, detail: string) => void;

/** What was learned of a segment. */
export interface LearnedSegment {
  /** New roundings by the layer's output; none where nothing was gained. */
  readonly roundings: ReadonlyMap<string, Rounding>;
  /** New scales of activations by the tensor's name. */
  readonly scales: ReadonlyMap<string, number>;
  /** What the report says. */
  readonly report: BlockReport;
}

/** Learns the segments of a plan, one after another. */
export interface SegmentLearner {
  /** The segments that it learns, in their order: all layers of the plan. */
  readonly segments: readonly Segment[];
  /**
   * Learns segment `index`, whose layers have been rounded in `parts`; `types` cross into it, and
   * all up to it has `spent` so much.
   */
  learn(
    index: number,
    parts: Parts,
    types: Types,
    spent: Spent,
    onShare: OnShare,
  ): Promise<LearnedSegment>;
}
