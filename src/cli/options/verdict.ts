/**
 * Flags that say what counts as a bad result, and by which figure of the user's own.
 *
 * @module
 */

import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { AttuneError } from "../../errors.ts";
import type { OutputEvaluation } from "../../evaluate/output_comparison.ts";
import type { Metric } from "../../evaluate/metric.ts";
import { type Context, type ExitCode, flagsIn, type Parsed } from "../command.ts";

/** The flag of a bound on the error. */
export const FAIL_FLAGS = flagsIn("Output", {
  "fail-above": {
    value: "X",
    help: "exit with 3 where an output's error is above X, as 0.05 or 5% [never]",
  },
});

/** The flag of a figure of one's own. */
export const METRIC_FLAGS = flagsIn("Output", {
  metric: { value: "FILE", help: "a module whose default export is a figure of your own" },
});

/** The bound that was given. */
export function boundOf(parsed: Parsed): number | undefined {
  const text = parsed.text("fail-above");
  if (text === undefined) return undefined;
  const isPercent = text.endsWith("%"), figure = isPercent ? text.slice(0, -1) : text;
  const bound = Number(figure) / (isPercent ? 100 : 1);
  if (figure.trim() !== "" && bound >= 0 && bound < Infinity) return bound;
  throw new AttuneError(
    "bad-option",
    `Cannot use --fail-above ${text}: give an output error, as in 0.05 or 5%`,
  );
}

/** The error of the output that is furthest off; undefined where none could be compared. */
export function worstError(
  outputs: readonly (OutputEvaluation | undefined)[],
): number | undefined {
  const errors = outputs.flatMap((each) =>
    each === undefined || each.kind === "integers" ? [] : [each.mse]
  );
  return errors.length === 0 ? undefined : Math.max(...errors);
}

/** The exit code for a result of that error, undefined where none was measured; says why. */
export function verdictOf(
  error: number | undefined,
  bound: number | undefined,
  { say }: Pick<Context, "say">,
): ExitCode {
  if (bound === undefined || (error !== undefined && error <= bound)) return 0;
  const percent = (value: number) => `${+(100 * value).toPrecision(3)} %`;
  say(
    error === undefined
      ? "failed: nothing was compared with the float model, so --fail-above cannot be met"
      : `failed: the output error is ${percent(error)}, above ${percent(bound)} of --fail-above`,
  );
  return 3;
}

/**
 * The metric in the file that was given: its default export is a function that scores a sample, or
 * a whole {@linkcode Metric}.
 */
export async function metricOf(parsed: Parsed): Promise<Metric | undefined> {
  const path = parsed.text("metric");
  if (path === undefined) return undefined;
  const fail = (why: string, cause?: unknown) =>
    new AttuneError(
      "bad-option",
      `Cannot use the metric of ${path}: ${why}; export default (outputs, sample) => number, or a ` +
        `Metric`,
      { cause },
    );
  let found: unknown;
  try {
    ({ default: found } = await import(pathToFileURL(resolve(path)).href));
  } catch (cause) {
    throw fail(String((cause as Error)?.message ?? cause).split("\n")[0], cause);
  }
  const name = /([^/\\]+?)(\.\w+)?$/.exec(path)![1];
  if (typeof found === "function") {
    return guarded({ kind: "mean", name, score: found as MeanScore }, path);
  }
  const { kind, score, start } = (found ?? {}) as Partial<Record<string, unknown>>;
  const isMetric = (kind === "mean" && typeof score === "function") ||
    (kind === "whole" && typeof start === "function");
  if (!isMetric) throw fail("its default export is no metric");
  return guarded({ ...(found as Metric), name: (found as Partial<Metric>).name ?? name }, path);
}

type MeanScore = (Metric & { kind: "mean" })["score"];

/** `metric` whose failures name its file, and whose figures are numbers. */
function guarded(metric: Metric, path: string): Metric {
  const run = <T>(work: () => T): T => {
    try {
      return work();
    } catch (cause) {
      const why = (cause as Error)?.message ?? cause;
      throw new AttuneError("bad-option", `The metric of ${path} failed: ${why}; mend it`, {
        cause,
      });
    }
  };
  const number = (value: unknown): number => {
    if (typeof value === "number") return value;
    throw new Error(`it gave ${String(value)}, not a number`);
  };
  if (metric.kind === "mean") {
    return { ...metric, score: (...args) => run(() => number(metric.score(...args))) };
  }
  return {
    ...metric,
    start() {
      const count = run(() => metric.start());
      return {
        add: (...args) => run(() => count.add(...args)),
        result: () => run(() => number(count.result())),
      };
    },
  };
}
