/**
 * What a job reports.
 *
 * @module
 */

import type { Calibrated } from "../calibrate/calibrated.ts";
import { formatOf } from "../formats/formats.ts";
import type { RoundedTable } from "../layer/round_tables.ts";
import type { Plan } from "../plan/plan.ts";
import type { TablePlan } from "../weights/table.ts";
import type { BlockReport, NestedReport, Report, TableReport } from "../report/report.ts";
import { VERSION } from "../version.ts";
import type { Checked } from "./check.ts";
import { isBad, remediesFor } from "./check_warnings.ts";
import { layerReport } from "./layer_report.ts";
import { describeOptions } from "./metadata.ts";
import type { QuantizeSettings } from "./options.ts";

/** What came of a job, step by step. */
export interface JobResult {
  /** How it was asked for. */
  readonly settings: QuantizeSettings;
  /** Its samples, and what is to be said of them. */
  readonly read: {
    readonly loaded: { readonly samples: number };
    readonly heldOut: readonly unknown[];
    readonly warnings: readonly string[];
  };
  /** Its embedding tables by their weights. */
  readonly tables: ReadonlyMap<string, RoundedTable>;
  /** Its layers and blocks. */
  readonly calibrated: Calibrated;
  /** What the last check says. */
  readonly checked: Checked;
  /** What the widths of nested grids come to, where they are nested. */
  readonly nested?: readonly NestedReport[];
  /** Seconds by kind of work. */
  readonly stages: Report["stages"];
}

/** The report of a job by `plan`. */
export function reportOf(plan: Plan, job: JobResult): Report {
  const { settings, read, tables, calibrated, checked, stages, nested } = job;
  const layers = calibrated.layers.map((result) => layerReport(plan, calibrated, result));
  const remedies = isBad(checked.check) ? remediesFor(layers) : undefined;
  return {
    version: VERSION,
    model: plan.model.name,
    method: settings.rounding.kind,
    options: describeOptions(plan, settings),
    seed: settings.seed,
    samples: { calibration: read.loaded.samples, heldOut: read.heldOut.length },
    size: plan.size,
    allocation: plan.allocation,
    layers,
    tables: plan.tables.map((table) => tableReport(table, tables.get(table.weight)!.error)),
    blocks: calibrated.blocks,
    skipped: plan.skipped,
    warnings: [
      ...read.warnings,
      ...calibrated.warnings,
      ...timeWarnings(calibrated.blocks, settings),
      ...formatWarnings(plan),
      ...checked.warnings,
    ],
    check: checked.check,
    ...(checked.heldOut && { heldOut: checked.heldOut }),
    ...(remedies && { remedies }),
    ...(nested && { nested }),
    stages,
  };
}

function tableReport(
  { nodes, weight, shape, bits, groupSize, bytesBefore, bytesAfter }: TablePlan,
  error: number,
): TableReport {
  const granularity = `group:${groupSize}`;
  return { nodes, weight, shape, bits, granularity, bytesBefore, bytesAfter, error };
}

/** What there was no time for. */
function timeWarnings(
  blocks: readonly BlockReport[],
  { blocks: learning }: QuantizeSettings,
): string[] {
  const late = blocks.filter(({ outcome }) => outcome === "no time").length;
  return late === 0 ? [] : [
    `${late} of ${blocks.length} blocks were not learned: rounding the layers took all of the ` +
    `${learning?.timeBudget} seconds; give more, or fewer samples`,
  ];
}

/** What a user of the file must know of its format. */
function formatWarnings({ options, activations }: Plan): string[] {
  return !formatOf(options.format).simulation || activations.ranged.length === 0 ? [] : [
    `A file of float weights beside quantized activations is opened by onnxruntime as if its weights ` +
    `had 8 bits and one scale: open it with the session option session.disable_quant_qdq, or leave ` +
    `activations in float`,
  ];
}
