/**
 * The solver: plain problems in, plain solutions out, and nothing kept in between. It needs the
 * kernel and neither samples nor a runtime, so it also works where models cannot run.
 *
 * @module
 */

import { checkAborted } from "../errors.ts";
import { Kernel } from "../kernel/kernel.ts";
import type { Task } from "../progress.ts";
import { solveTiled } from "../round/tiled.ts";
import { solveDiagonal } from "../round/diagonal.ts";
import { methodOf } from "../round/methods.ts";
import { solveNested } from "../round/nested.ts";
import type { Problem } from "../round/problem.ts";
import { codebookErrors } from "../round/scales.ts";
import { shiftErrors, type ShiftProblem } from "../round/shift.ts";
import { type Solution, solveLayer } from "../round/solve.ts";
import { type WidthErrors, widthErrors } from "../round/width_errors.ts";
import { spectrumOf, type SpectrumProblem } from "../round/spectrum.ts";
import type { Work } from "../round/work.ts";

/** Milliseconds of work after which others get a turn: messages come in, signals fire. */
const TURN = 50;

/**
 * Solves what rounding comes down to, one problem at a time: calls wait for those before them. A
 * task's signal stops a call at its next pause; the work then fails with `aborted`.
 *
 * @example
 * ```ts
 * import { Solver } from "./solver.ts";
 *
 * const { levels } = await new Solver().solve({
 *   ...{ groups: 1, rows: 1, depth: 2, groupSize: 2, oneScale: false, gramTile: 2, refit: true },
 *   windows: { span: 3, lows: [-2] },
 *   grid: { kind: "uniform" },
 *   weight: Float32Array.of(0.5, -1),
 *   gram: Float32Array.of(1, 0, 0, 1),
 *   damping: 0.01,
 *   method: { kind: "attention" },
 *   ...{ seed: 0, stream: 0 },
 * });
 * if (levels.join() !== "1,-2") throw new Error(levels.join());
 * ```
 */
export class Solver {
  readonly #kernel: Kernel;
  #last: Promise<unknown> = Promise.resolve();

  /**
   * A solver with a kernel of its own, which nobody else uses meanwhile. Default: the strict build.
   */
  constructor(kernel: Kernel = Kernel.create()) {
    this.#kernel = kernel;
  }

  /** Rounds a layer, or some of its rows; the task hears of gradient steps. */
  solve(problem: Problem, task?: Task): Promise<Solution> {
    const onDiagonal = problem.gramTile === 1 && problem.depth > 1;
    const solve = problem.cuts
      ? solveNested
      : onDiagonal && methodOf(problem.method).round === undefined
      ? solveDiagonal
      : problem.gramTile < problem.depth
      ? solveTiled
      : solveLayer;
    return this.#run(solve(this.#kernel, problem), task);
  }

  /** How well each strength of the float-target shift does on other samples. */
  shiftErrors(problem: ShiftProblem, task?: Task): Promise<Float64Array> {
    return this.#run(shiftErrors(this.#kernel, problem), task);
  }

  /** How well each codebook suits the weights of a problem. */
  codebookErrors(problem: Problem, codebooks: readonly Int8Array[]): Promise<Float64Array[]> {
    return this.#run(once(() => codebookErrors(this.#kernel, problem, codebooks)));
  }

  /** The eigenvalues of a layer's W H Wᵀ. */
  spectrum(problem: SpectrumProblem): Promise<Float64Array> {
    return this.#run(once(() => spectrumOf(this.#kernel, problem)));
  }

  /**
   * What rounding a layer, or some of its rows, costs at several widths; levels are kept of problem
   * `keep`, if any.
   */
  widthErrors(
    problems: readonly Problem[],
    keep: number | undefined,
    task?: Task,
  ): Promise<WidthErrors> {
    return this.#run(widthErrors(this.#kernel, problems, keep), task);
  }

  #run<T>(work: Work<T>, task?: Task): Promise<T> {
    const result = this.#last.then(() => inTurns(work, task));
    this.#last = result.catch(() => {});
    return result;
  }
}

/** `work` as work of one piece. */
// deno-lint-ignore require-yield
function* once<T>(work: () => T): Work<T> {
  return work();
}

/** The result of `work`, which lets others have a turn now and then. */
async function inTurns<T>(work: Work<T>, { onDone, signal }: Task = {}): Promise<T> {
  try {
    for (let turn = performance.now();;) {
      checkAborted(signal);
      const step = work.next();
      if (step.done) return step.value;
      if (step.value > 0) onDone?.(step.value);
      if (performance.now() - turn < TURN) continue;
      await new Promise((resolve) => setTimeout(resolve));
      turn = performance.now();
    }
  } finally {
    // Frees the kernel's memory where the work was not finished.
    work.return(undefined as never);
  }
}
