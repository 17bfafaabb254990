/**
 * How many weights share one scale.
 *
 * @module
 */

/** How many weights share one scale. */
export type Granularity =
  | { /** One scale for the whole weight. */ readonly kind: "tensor" }
  | { /** One scale per output channel. */ readonly kind: "channel" }
  | {
    /** One scale per output channel and block of inputs. */
    readonly kind: "group";
    /** Inputs (times kernel positions) that share a scale. */
    readonly size: number;
  };
