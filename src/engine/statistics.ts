/**
 * Second moments of a layer on calibration data: all that rounding needs to know of the samples.
 *
 * @module
 */

/**
 * Sums over the columns x̂ (inputs, as the quantized model computes them) and y (float outputs).
 */
export interface LayerSums {
  /** Number of columns. */
  count: number;
  /** Σ x̂ x̂ᵀ per group: groups × depth × depth; or of each block of inputs. */
  readonly gram: Float32Array;
  /** Σ y x̂ᵀ per group: groups × rows × depth; empty where the layer is not to be shifted. */
  readonly cross: Float32Array;
  /** Σ x̂: groups × depth. */
  readonly inputSum: Float32Array;
  /** Σ y: groups × rows. */
  readonly outputSum: Float32Array;
}

/** The sums of a layer, apart for the lanes to learn from and those to judge by. */
export interface SplitSums {
  /** Of the lanes to learn from. */
  readonly training: LayerSums;
  /** Of the lanes to judge by; undefined where there are too few samples. */
  readonly validation?: LayerSums;
}

/**
 * Means over the columns; with `centred`, the mean of x̂ and of y is taken out (a bias makes up).
 */
export interface Statistics {
  /** Number of columns. */
  readonly count: number;
  /** H = E[x̂ x̂ᵀ] (or covariance) per group: groups × depth × depth. */
  readonly gram: Float32Array;
  /** E[y x̂ᵀ] (or covariance) per group: groups × rows × depth; empty as in the sums. */
  readonly cross: Float32Array;
  /** E[x̂]: groups × depth. */
  readonly inputMean: Float32Array;
  /** E[y]: groups × rows. */
  readonly outputMean: Float32Array;
}

/**
 * What is assumed of a layer that no sample reached: inputs of the same size that have nothing to
 * do with one another, so that its weights are rounded by themselves.
 */
export function unseen(
  gramTile: number,
  { groups, rows, depth }: {
    readonly groups: number;
    readonly rows: number;
    readonly depth: number;
  },
): Statistics {
  const gram = new Float32Array(groups * depth * gramTile);
  for (let i = 0; i < groups * depth; i++) gram[i * gramTile + i % gramTile] = 1;
  return {
    count: 0,
    gram,
    cross: new Float32Array(0),
    inputMean: new Float32Array(groups * depth),
    outputMean: new Float32Array(groups * rows),
  };
}

/**
 * Adds `other` to `sums`. The order of additions is the caller's, since float sums depend on it.
 */
export function addSums(sums: LayerSums, other: LayerSums): void {
  sums.count += other.count;
  for (const key of ["gram", "cross", "inputSum", "outputSum"] as const) {
    const into = sums[key], from = other[key];
    for (let i = 0; i < into.length; i++) into[i] += from[i];
  }
}

/**
 * Variance relative to E[x²] below which float32 sums of squares say nothing: such an input is
 * constant, and its covariances are rounding errors, which would make H indefinite.
 */
const NOISE = 1e-5;

/** What is done about the part of a layer's outputs that its weights do not make. */
export interface Offset {
  /** Whether means are taken out of x̂ and y: the layer gets a bias that sets them right. */
  readonly centred: boolean;
  /** The bias that it keeps, groups · rows values, which is taken off y. Default: none. */
  readonly bias?: Float32Array;
}

/** Means over all of `parts`; `depth` and `rows` are per group. */
export function momentsOf(
  parts: readonly LayerSums[],
  { rows, depth }: { readonly rows: number; readonly depth: number },
  { centred, bias }: Offset,
): Statistics {
  // A copy, which becomes the result.
  const [sums, ...others] = parts.map((part, i) => i === 0 ? copyOf(part) : part);
  for (const other of others) addSums(sums, other);
  const { count, gram, cross } = sums;
  const inputMean = sums.inputSum.map((value) => value / count);
  const outputMean = sums.outputSum.map((value) => value / count);
  if (bias !== undefined && !centred) {
    for (let i = 0, at = 0; at < cross.length; i++) {
      const right = Math.floor(i / rows) * depth;
      for (let j = 0; j < depth; j++) cross[at++] -= bias[i] * sums.inputSum[right + j];
    }
    bias.forEach((value, row) => outputMean[row] -= value);
  }
  const centre = (matrix: Float32Array, rowMean: Float32Array, height: number, width: number) => {
    for (let i = 0; i * width < matrix.length; i++) {
      const right = Math.floor(i / height) * width;
      for (let j = 0, at = i * width; j < width; j++, at++) {
        matrix[at] = matrix[at] / count - (centred ? rowMean[i] * inputMean[right + j] : 0);
      }
    }
  };
  const block = gram.length / inputMean.length;
  const squares = inputMean.map((_, i) => gram[i * block + i % block] / count);
  centre(gram, inputMean, block, block);
  centre(cross, outputMean, rows, depth);
  squares.forEach((square, i) => {
    if (!centred || gram[i * block + i % block] > NOISE * square) return;
    const first = i - i % block;
    for (let j = 0; j < block; j++) {
      gram[i * block + j] = gram[(first + j) * block + i % block] = 0;
    }
    // Empty where the layer is not shifted.
    const group = Math.floor(i / depth), top = group * rows * depth + i % depth;
    for (let r = 0; r < rows && cross.length > 0; r++) cross[top + r * depth] = 0;
  });
  return { count, gram, cross, inputMean, outputMean };
}

function copyOf({ count, gram, cross, inputSum, outputSum }: LayerSums): LayerSums {
  return {
    count,
    gram: gram.slice(),
    cross: cross.slice(),
    inputSum: inputSum.slice(),
    outputSum: outputSum.slice(),
  };
}
