/**
 * A progress bar on the terminal: one line per stage, with the time that is left.
 *
 * @module
 */

import process from "node:process";
import { type OnProgress, timeLeft } from "../progress.ts";
import { printable } from "../printable.ts";
import { duration } from "../report/format.ts";
import { shorten, widthOf } from "./width.ts";

/** Milliseconds between two drawings. */
const INTERVAL = 100;
/** Columns of the bar. */
const WIDTH = 24;
/** Goes to the start of the line and clears it. */
const CLEAR = "\r\x1b[K";

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
  /** Takes an event; one of another stage ends the stage before it. */
  readonly update: OnProgress;
  /** Ends the last stage: its line stays, with the time it took. */
  finish(): void;
}

/**
 * Draws progress on `terminal`; `now` gives milliseconds. Disposing takes an unfinished bar away.
 *
 * @example
 * ```ts
 * import { createProgress } from "./progress.ts";
 *
 * using progress = createProgress();
 * progress.update({ stage: "quantize", done: 3, total: 10, detail: "conv3" });
 * progress.finish();
 * ```
 */
export function createProgress(
  terminal: Terminal = process.stderr,
  now: () => number = () => performance.now(),
): Progress {
  let stage: string | undefined;
  let started = 0, drawn = -Infinity, open = false;
  const clear = () => {
    if (open) terminal.write(CLEAR);
    open = false;
  };
  const spent = () => (now() - started) / 1000;
  const finish = () => {
    if (stage === undefined) return;
    clear();
    terminal.write(`${printable(stage)}  ${duration(spent())}\n`);
    stage = undefined;
  };
  return {
    update(event) {
      if (!terminal.isTTY) return;
      if (event.stage !== stage) {
        finish();
        [stage, started, drawn] = [event.stage, now(), -Infinity];
      }
      if (now() - drawn < INTERVAL) return;
      drawn = now();
      // A full last column would make some terminals go to the next line.
      terminal.write(CLEAR + line(event, spent(), (terminal.columns ?? 80) - 1));
      open = true;
    },
    finish,
    [Symbol.dispose]: clear,
  };
}

/** A stage's line in at most `width` columns; the detail is what gives way. */
function line(event: Parameters<OnProgress>[0], spent: number, width: number): string {
  const { stage, done, total, detail } = event;
  const parts = [printable(stage)];
  if (total > 0) {
    const share = Math.max(0, Math.min(1, done / total));
    const filled = Math.round(share * WIDTH);
    parts.push("█".repeat(filled) + "░".repeat(WIDTH - filled), `${Math.floor(100 * share)} %`);
    parts.push(duration(spent));
    const left = timeLeft(event, spent);
    if (left !== undefined) parts.push(`${duration(left)} left`);
  } else parts.push(`${done}`, duration(spent));
  const text = parts.join("  ");
  if (!detail) return shorten(text, width);
  const room = width - widthOf(text) - 2;
  return room < 4 ? shorten(text, width) : `${text}  ${shorten(printable(detail), room)}`;
}
