/**
 * Checkpoints: what a job has found so far, so that it can go on after it was interrupted and end
 * with the same bytes. Only decisions are kept; activations are computed again from the samples.
 *
 * A file is a line of text, a digest of all that follows, the length of a JSON header, the header,
 * and the arrays that it names, one after another.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import type { ActivationGrid, Rounding } from "../emit/build.ts";
import type { RangeFacts } from "../engine/range.ts";
import { bytesOf } from "../onnx/tensor.ts";
import type { Plan } from "../plan/plan.ts";
import type { LayerPlan } from "../weights/layer.ts";
import { BLOCK_OUTCOMES, type BlockReport } from "../report/report.ts";

/** Where a checkpoint is kept. */
export interface CheckpointStore {
  /** What messages call it: a file name. */
  readonly name: string;
  /** The checkpoint; undefined where there is none. */
  load(): Uint8Array | undefined;
  /** Replaces it. */
  save(bytes: Uint8Array<ArrayBuffer>): void;
  /** Removes it. */
  clear(): void;
}

/** What a checkpoint must agree on with the job that resumes from it; values are plain JSON. */
export type Identity = Readonly<Record<string, unknown>>;

/** The range and grid of an activation, and what is said of them. */
export type RangedGrid = ActivationGrid & RangeFacts & { readonly lo: number; readonly hi: number };

/** What a job has found so far. */
export interface JobState {
  /** Segments that are done. */
  readonly segments: number;
  /** Rounded layers by their output, in the order in which they were rounded, with their errors. */
  readonly layers: ReadonlyMap<
    string,
    {
      readonly rounding: Rounding;
      readonly error: { readonly nearest: number; readonly final: number };
    }
  >;
  /** Grids by tensor. */
  readonly grids: ReadonlyMap<string, RangedGrid>;
  /** What the user should know. */
  readonly warnings: readonly string[];
  /** What was learned of the blocks that are done. */
  readonly blocks: readonly unknown[];
}

const MAGIC = "attune checkpoint 3\n";
/** Bytes of the digest, SHA-256. */
const DIGEST = 32;

interface Header {
  readonly identity: Identity;
  readonly segments: number;
  readonly layers: readonly {
    readonly name: string;
    readonly levels: number;
    readonly scales: number;
    readonly lows: number;
    readonly bias: number | null;
    /** Where levels are not all integers of the width. */
    readonly codebook?: readonly number[];
    /** Where grids are nested. */
    readonly cuts?: readonly { readonly width: number; readonly bias: number | null }[];
    readonly error: { readonly nearest: number; readonly final: number };
  }[];
  readonly grids: readonly [string, RangedGrid][];
  readonly warnings: readonly string[];
  readonly blocks: readonly unknown[];
}

/** The bytes of a checkpoint. */
export async function encodeCheckpoint(
  identity: Identity,
  state: JobState,
): Promise<Uint8Array<ArrayBuffer>> {
  const arrays: Uint8Array[] = [];
  /** The length of an array, which is kept. */
  const keep = (array: Float32Array | undefined) => {
    if (array) arrays.push(bytesOf(array));
    return array?.length ?? null;
  };
  const layers = [...state.layers].map(([name, { rounding, error }]) => {
    const { levels, scales, lows, bias, codebook, cuts } = rounding;
    arrays.push(bytesOf(levels), bytesOf(scales), bytesOf(lows));
    return {
      name,
      levels: levels.length,
      scales: scales.length,
      lows: lows.length,
      bias: keep(bias),
      codebook: codebook && [...codebook],
      cuts: cuts?.map(({ width, bias }) => ({ width, bias: keep(bias) })),
      error,
    };
  });
  const { segments, grids, warnings, blocks } = state;
  const header: Header = { identity, segments, layers, grids: [...grids], warnings, blocks };
  const text = new TextEncoder().encode(JSON.stringify(header));
  const parts = [
    new TextEncoder().encode(MAGIC),
    new Uint8Array(DIGEST),
    bytesOf(Uint32Array.of(text.length)),
    text,
    ...arrays,
  ];
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  bytes.set(await digestOf(bytes), MAGIC.length);
  return bytes;
}

/** What mends every error of a checkpoint. */
const START_AGAIN = { remedies: [{ option: "resume", value: false }] } as const;

/** The digest of what follows its own place in a checkpoint. */
async function digestOf(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const content = bytes.subarray(MAGIC.length + DIGEST);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", content));
}

/**
 * Reads a checkpoint again.
 *
 * @throws {AttuneError} `bad-option` where it is not one, is damaged, or belongs to another job:
 * then the message says what differs.
 */
export async function decodeCheckpoint(
  name: string,
  file: Uint8Array,
  identity: Identity,
): Promise<JobState> {
  // A slice of a Node Buffer would be a view.
  const bytes = new Uint8Array(file.buffer as ArrayBuffer, file.byteOffset, file.byteLength);
  const refuse = (why: string) =>
    new AttuneError(
      "bad-option",
      `Cannot resume from ${name}: ${why}; start again from nothing`,
      START_AGAIN,
    );
  const start = MAGIC.length + DIGEST + 4;
  if (
    bytes.length < start ||
    new TextDecoder().decode(bytes.subarray(0, MAGIC.length)) !== MAGIC
  ) throw refuse("it is no checkpoint of this version");
  const digest = await digestOf(bytes);
  if (!digest.every((byte, i) => byte === bytes[MAGIC.length + i])) {
    throw refuse("it is damaged or cut off");
  }
  // A digest keeps out accidents, not somebody who sets it right.
  try {
    return readState(bytes, start, identity, refuse);
  } catch (cause) {
    if (cause instanceof AttuneError) throw cause;
    throw refuse("it is no checkpoint that attune writes");
  }
}

/** The state in the checkpoint `bytes`, whose header begins at `start`. */
function readState(
  bytes: Uint8Array<ArrayBuffer>,
  start: number,
  identity: Identity,
  refuse: (why: string) => AttuneError,
): JobState {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  let at = start + view.getUint32(start - 4, true);
  const header: Header = JSON.parse(new TextDecoder().decode(bytes.subarray(start, at)));
  const different = Object.keys({ ...header.identity, ...identity }).filter((key) =>
    JSON.stringify(header.identity[key]) !== JSON.stringify(identity[key])
  );
  if (different.length > 0) {
    const was = (key: string) =>
      `${key} was ${JSON.stringify(header.identity[key])}, is ${JSON.stringify(identity[key])}`;
    throw refuse(`it is of another job (${different.map(was).join("; ")})`);
  }
  const take = (size: number): ArrayBuffer => bytes.slice(at, at += size).buffer;
  const floats = (size: number | null) =>
    size === null ? undefined : new Float32Array(take(4 * size));
  const layers = new Map(header.layers.map(({ name, error, ...stored }) => {
    const { levels, scales, lows, bias, codebook, cuts } = stored;
    const rounding: Rounding = {
      levels: new Int8Array(take(levels)),
      scales: new Float32Array(take(4 * scales)),
      lows: new Int8Array(take(lows)),
      bias: floats(bias),
      ...(codebook && { codebook: Int8Array.from(codebook) }),
      ...(cuts && { cuts: cuts.map(({ width, bias }) => ({ width, bias: floats(bias) })) }),
    };
    return [name, { rounding, error }] as const;
  }));
  const { segments, grids, warnings, blocks } = header;
  return { segments, layers, grids: new Map(grids), warnings, blocks };
}

/**
 * Checks that `state`, from a checkpoint called `name`, is one of the job that `plan` makes:
 * whatever goes on from it takes the lengths of arrays as given.
 *
 * @throws {AttuneError} `bad-option` where it is not.
 */
export function checkState(name: string, plan: Plan, state: JobState): JobState {
  const layers = new Map(plan.layers.map((layer) => [layer.target.output, layer]));
  const isCount = (value: unknown) => Number.isSafeInteger(value) && value as number >= 0;
  const isText = (value: unknown) => typeof value === "string";
  const isList = (value: unknown, isPart: (part: unknown) => boolean) =>
    Array.isArray(value) && value.every(isPart);
  const sound = isCount(state.segments) && isList(state.warnings, isText) &&
    isList(state.blocks, (block) => isReport(block as BlockReport | null)) &&
    [...state.grids].every(([name, grid]) => isText(name) && isGrid(grid)) &&
    [...state.layers].every(([output, { rounding, error }]) => {
      const layer = layers.get(output);
      return layer !== undefined && fits(layer, rounding) &&
        [error?.nearest, error?.final].every(Number.isFinite);
    });
  if (sound) return state;
  throw new AttuneError(
    "bad-option",
    `Cannot resume from ${name}: what it holds is not of this job; start again from nothing`,
    START_AGAIN,
  );

  function isGrid(grid: RangedGrid | null): boolean {
    if (grid === null) return false;
    const { bits, scale, zeroPoint, lo, hi } = grid;
    return (bits === 4 || bits === 8) && scale > 0 &&
      [scale, lo, hi, grid.clipped ?? 0, grid.spread ?? 0].every(Number.isFinite) &&
      isCount(zeroPoint) && zeroPoint < 2 ** bits;
  }
  function isReport(report: BlockReport | null): boolean {
    if (report === null) return false;
    const { layers, iterations, error, outcome, note } = report;
    return isList(layers, isText) && isCount(iterations) && BLOCK_OUTCOMES.includes(outcome) &&
      (note === undefined || isText(note)) &&
      (error === undefined || [error?.before, error?.after].every((e) => typeof e === "number"));
  }
}

/** Whether `rounding` has the lengths that `layer` wants. */
function fits(layer: LayerPlan, { levels, scales, lows, bias, codebook, cuts }: Rounding): boolean {
  const { target, granularity, groupsPerRow, bits } = layer, rows = target.groups * target.rows;
  const each = granularity.kind === "tensor" ? 1 : rows * groupsPerRow;
  const biases = [bias, ...cuts?.map(({ bias }) => bias) ?? []];
  return levels.length === rows * target.depth && scales.length === each && lows.length === rows &&
    biases.every((one) => one === undefined || one.length === rows) &&
    (codebook === undefined || (codebook.length > 0 && codebook.length <= 2 ** bits));
}
