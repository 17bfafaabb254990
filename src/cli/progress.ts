/**
 * A progress bar on the terminal: one line per stage, with the time that is left.
 *
 * @module
 */

import process from "node:process";
import type { OnProgress } from "../progress.ts";
import { duration } from "./table.ts";

/** Milliseconds between two drawings. */
const INTERVAL = 100;
/** Characters of the bar. */
const WIDTH = 24;
/** Time left is shown once this share is done: before, it would be a guess. */
const LEAST_SHARE = 0.02;

/** Where a bar is drawn. */
export interface Terminal {
  /** Whether it is a terminal; nothing is drawn elsewhere. */
  readonly isTTY?: boolean;
  /** Characters per line. */
  readonly columns?: number;
  /** Writes text. */
  write(text: string): unknown;
}

/** A progress display. */
export interface Progress extends Disposable {
  /** Takes an event. */
  readonly update: OnProgress;
  /** Ends the last stage's line. */
  finish(): void;
}

/** Draws progress on `terminal`; `now` gives milliseconds. */
export function createProgress(
  terminal: Terminal = process.stderr,
  now: () => number = () => performance.now(),
): Progress {
  let stage = "", started = 0, drawn = -Infinity, open = false;
  const clear = () => {
    if (open) terminal.write("\r\x1b[K");
    open = false;
  };
  const finish = () => {
    if (!terminal.isTTY || stage === "") return;
    clear();
    terminal.write(`${stage} ${duration((now() - started) / 1000)}\n`);
    stage = "";
  };
  return {
    update({ stage: next, done, total, detail }) {
      if (!terminal.isTTY) return;
      if (next !== stage) {
        finish();
        [stage, started, drawn] = [next, now(), -Infinity];
      }
      if (now() - drawn < INTERVAL) return;
      drawn = now();
      const share = total > 0 ? Math.min(1, done / total) : 0;
      const spent = (now() - started) / 1000;
      const filled = Math.round(share * WIDTH);
      const parts = total > 0
        ? [
          `${"█".repeat(filled)}${"░".repeat(WIDTH - filled)} ${(100 * share).toFixed(0)} %`,
          share > LEAST_SHARE ? `${duration(spent * (1 - share) / share)} left` : "",
        ]
        : [`${done}`];
      const line = [stage, ...parts, detail ?? ""].filter((part) => part !== "").join("  ");
      terminal.write(`\r\x1b[K${line.slice(0, (terminal.columns ?? 80) - 1)}`);
      open = true;
    },
    finish,
    [Symbol.dispose]: clear,
  };
}
