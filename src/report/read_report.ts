/**
 * Reports out of JSON. Who wrote it is not known, so what pages take as given is looked at.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import type { Report } from "./report.ts";

/**
 * The report in `json`, which `--json` or a report named `.json` gave; `name` is what errors call
 * it.
 *
 * @throws {AttuneError} `bad-data` where it is none.
 *
 * @example
 * ```ts
 * import { readReport } from "./read_report.ts";
 *
 * try {
 *   readReport("{}", "a.json");
 *   throw new Error("unexpected");
 * } catch (error) {
 *   if (!(error as Error).message.startsWith("Cannot read a.json as a report")) throw error;
 * }
 * ```
 */
export function readReport(json: string, name: string): Report {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw noReport(name, "it is no JSON", cause);
  }
  const wrong = faultOf(value);
  if (wrong !== undefined) throw noReport(name, `${wrong} is missing or not what it should be`);
  return value as Report;
}

function noReport(name: string, why: string, cause?: unknown): AttuneError {
  return new AttuneError(
    "bad-data",
    `Cannot read ${name} as a report: ${why}; give a report that attune wrote as JSON`,
    { cause },
  );
}

type Fields = Readonly<Record<string, unknown>>;

const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isText = (value: unknown) => typeof value === "string";
/** Where JSON has no number, as for an infinite error, it says null. */
const isNumber = (value: unknown) => typeof value === "number" && Number.isFinite(value);
const areNumbers = (value: unknown, ...names: string[]) =>
  isFields(value) && names.every((name) => isNumber(value[name]));
const isList = (value: unknown, isPart: (part: unknown) => boolean) =>
  Array.isArray(value) && value.every(isPart);

/** The first part of `value` that is not as in a report; undefined where there is none. */
function faultOf(value: unknown): string | undefined {
  if (!isFields(value)) return "the object";
  const checks: Readonly<Record<string, boolean>> = {
    version: isText(value.version),
    model: isText(value.model),
    method: isText(value.method),
    options: isFields(value.options),
    seed: isNumber(value.seed),
    samples: areNumbers(value.samples, "calibration", "heldOut"),
    size: areNumbers(value.size, "before", "after"),
    layers: isList(value.layers, isLayer),
    warnings: isList(value.warnings, isText),
    check: value.check === null ||
      areNumbers(value.check, "mseToFloat", "agreementToFloat", "mseToSimulation"),
    stages: isList(
      value.stages,
      (stage) => isFields(stage) && isText(stage.name) && isNumber(stage.seconds),
    ),
  };
  return Object.keys(checks).find((name) => !checks[name]);
}

function isLayer(layer: unknown): boolean {
  return isFields(layer) && [layer.name, layer.op, layer.grid].every(isText) &&
    isList(layer.shape, isNumber) && areNumbers(layer, "bits", "bytesBefore", "bytesAfter") &&
    areNumbers(layer.error, "nearest", "final");
}
