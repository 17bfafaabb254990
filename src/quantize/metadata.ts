/**
 * How a result came to be, as its metadata, its report and the checkpoints on the way to it tell.
 *
 * @module
 */

import { create } from "@bufbuild/protobuf";
import type { Identity } from "../calibrate/checkpoint.ts";
import { modelDigest } from "../onnx/chunks.ts";
import { StringStringEntryProtoSchema } from "../onnx/gen/onnx_pb.ts";
import { copyModel, type Model } from "../onnx/model.ts";
import type { Plan } from "../plan/plan.ts";
import { VERSION } from "../version.ts";
import type { Granularity } from "../weights/granularity.ts";
import type { QuantizeSettings } from "./options.ts";

/** The samples that a model was calibrated on. */
export interface CalibrationSamples {
  /** How many. */
  readonly count: number;
  /** A digest of their values. */
  readonly digest: string;
}

/**
 * `options` as files tell them: iterations are called steps there, and have to be, since what is
 * written for given options must not change.
 */
function inFiles<T extends object>(options: T): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(options).map(([key, value]) => [key === "iterations" ? "steps" : key, value]),
  );
}

/** The same of weights that share a scale: files call a group of them a block, as ONNX does. */
function granularityInFiles(granularity: Granularity): Record<string, unknown> {
  return granularity.kind === "group" ? { ...granularity, kind: "block" } : { ...granularity };
}

/** The options as the report and the model's metadata tell them. */
export function describeOptions(plan: Plan, settings: QuantizeSettings): Record<string, unknown> {
  const { bits, edgeBits, activationBits, granularity, symmetric, overrides } = plan.options;
  const { grid, nested = null, format } = plan.options;
  const { rounding, range, floatTargetShift, biasCorrection, scaleRefit, damping } = settings;
  const { onGraph: _, ...blocks } = settings.blocks ?? {};
  return {
    bits,
    edgeBits,
    activationBits,
    granularity: granularityInFiles(granularity),
    symmetric,
    overrides,
    grid,
    nested,
    format,
    rounding: inFiles(rounding),
    range,
    floatTargetShift,
    biasCorrection,
    scaleRefit,
    damping,
    blocks: settings.blocks ? inFiles(blocks) : null,
  };
}

/** The width of each layer by its name. */
function chosenWidths({ layers }: Plan): Record<string, number> {
  return Object.fromEntries(layers.map(({ target, bits }) => [target.name, bits]));
}

/** What a checkpoint must agree on with the job that resumes from it. */
export async function identityOf(
  plan: Plan,
  settings: QuantizeSettings,
  samples: CalibrationSamples,
  backend: string,
): Promise<Identity> {
  return {
    version: VERSION,
    model: await modelDigest(plan.model),
    samples: `${samples.count} (${samples.digest})`,
    backend,
    seed: settings.seed,
    heldOut: settings.heldOut,
    ...describeOptions(plan, settings),
    ...(plan.allocation && { widths: chosenWidths(plan) }),
  };
}

/** `model` with metadata that says how it came to be. */
export function withMetadata(
  model: Model,
  plan: Plan,
  settings: QuantizeSettings,
  samples: CalibrationSamples,
): Model {
  const copy = copyModel(model);
  const entries = {
    "attune.version": VERSION,
    "attune.seed": String(settings.seed),
    "attune.options": JSON.stringify(describeOptions(plan, settings)),
    ...(plan.allocation && { "attune.widths": JSON.stringify(chosenWidths(plan)) }),
    "attune.calibration.samples": String(samples.count),
    "attune.calibration.digest": samples.digest,
  };
  const { metadataProps } = copy.proto;
  for (const [key, value] of Object.entries(entries)) {
    metadataProps.push(create(StringStringEntryProtoSchema, { key, value }));
  }
  return copy;
}
