/**
 * Long work of the kernel in pieces, so that whoever runs it can report progress, let others have a
 * turn, and stop in between. The kernel itself never waits: a piece runs to its end.
 *
 * @module
 */

/**
 * Work that yields between its pieces how much of it was done, in units of its own, and returns its
 * result.
 */
export type Work<T> = Generator<number, T, void>;

/**
 * The result of `work`, all of it in one go.
 *
 * @example
 * ```ts
 * import { finish, type Work } from "./work.ts";
 *
 * function* count(to: number): Work<number> {
 *   for (let i = 0; i < to; i++) yield 1;
 *   return to;
 * }
 * if (finish(count(3)) !== 3) throw new Error("unexpected");
 * ```
 */
export function finish<T>(work: Work<T>): T {
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
  }
}
