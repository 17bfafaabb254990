/**
 * The button that starts a job, and how far it has come.
 *
 * @module
 */

import { type ProgressEvent, type ProgressStage, timeLeft } from "../../src/progress.ts";
import { duration } from "../../src/report/format.ts";
import { fill, h } from "../dom.ts";

/** What the visitor wants. */
export interface JobHandlers {
  /** A job is to start. */
  readonly onStart: () => void;
  /** It is to end. */
  readonly onCancel: () => void;
}

/** What stages are called here. */
const NAMES: Readonly<Record<ProgressStage, string>> = {
  "read samples": "Reading samples",
  "measure": "Measuring layers",
  "quantize": "Rounding layers",
  "check": "Checking the file",
  "compare": "Comparing",
  "evaluate": "Predicting",
};
/** Milliseconds between two times that a screen reader is told. */
const SAY_EVERY = 5000;

/** A stage as it is shown. */
interface Row {
  readonly element: HTMLElement;
  readonly bar: HTMLProgressElement;
  readonly text: HTMLElement;
  readonly started: number;
}

/** The button, and the stages. */
export class JobView {
  readonly #start: HTMLButtonElement;
  readonly #cancel: HTMLButtonElement;
  readonly #hint = h("p", { class: "soft", id: "job-hint" });
  readonly #stages = h("ol", { class: "stages" });
  /** What screen readers are told, now and then. */
  readonly #spoken = h("p", { class: "unseen", role: "status", "aria-live": "polite" });
  #rows = new Map<ProgressStage, Row>();
  #saidAt = 0;

  /** Shows them in `place`. */
  constructor(place: Element, { onStart, onCancel }: JobHandlers) {
    this.#start = h("button", {
      type: "button",
      id: "start",
      class: "primary",
      click: onStart,
      "aria-describedby": "job-hint",
    }, "Quantize");
    this.#cancel = h("button", {
      type: "button",
      id: "cancel",
      class: "quiet",
      hidden: true,
      click: onCancel,
    }, "Cancel");
    fill(
      place,
      h("div", { class: "buttons" }, this.#start, this.#cancel),
      this.#hint,
      this.#stages,
      this.#spoken,
    );
    this.ready(false);
  }

  /** Whether there is all that a job needs. */
  ready(hasSamples: boolean): void {
    this.#start.disabled = !hasSamples;
    this.#hint.textContent = hasSamples
      ? "All of it happens here. A reload in the middle goes on where it was."
      : "Samples are missing: 16 to 256 of what the model will see are enough.";
  }

  /** A job has begun. */
  start(): void {
    this.#rows.clear();
    fill(this.#stages);
    this.#start.disabled = true;
    this.#cancel.hidden = false;
    this.#cancel.focus();
    this.#spoken.textContent = "Quantizing";
  }

  /** It has ended, after so many seconds; undefined where nothing came of it. */
  end(seconds: number | undefined): void {
    this.#cancel.hidden = true;
    this.#start.disabled = false;
    for (const { bar, element } of this.#rows.values()) {
      bar.max = bar.value = 1;
      element.classList.add("done");
    }
    if (seconds === undefined) {
      fill(this.#stages);
      this.#start.focus();
    }
    this.#spoken.textContent = seconds === undefined ? "Stopped" : `Done in ${duration(seconds)}`;
  }

  /** Shows how far a stage has come; it ends the ones before it. */
  progress(event: ProgressEvent): void {
    if (this.#cancel.hidden) return;
    const { stage, done, total, detail } = event, now = performance.now();
    const row = this.#rows.get(stage) ?? this.#begin(stage, now);
    const spent = (now - row.started) / 1000, left = timeLeft(event, spent);
    if (total > 0) {
      row.bar.max = total;
      row.bar.value = done;
    }
    const share = total > 0 ? `${Math.floor(100 * Math.min(1, done / total))} %` : `${done}`;
    const time = left === undefined ? duration(spent) : `${duration(left)} left`;
    fill(
      row.text,
      `${share} · ${time}`,
      detail !== undefined && h("span", { class: "soft" }, ` · ${detail}`),
    );
    if (now - this.#saidAt < SAY_EVERY) return;
    this.#saidAt = now;
    this.#spoken.textContent = `${NAMES[stage]}, ${share}, ${time}`;
  }

  #begin(stage: ProgressStage, started: number): Row {
    for (const { element, bar, text, started } of this.#rows.values()) {
      if (element.classList.contains("done")) continue;
      element.classList.add("done");
      bar.max = bar.value = 1;
      fill(text, duration((performance.now() - started) / 1000));
    }
    const bar = h("progress", { "aria-label": NAMES[stage] }), text = h("span", { class: "time" });
    const element = h("li", {}, h("span", {}, NAMES[stage]), bar, text);
    const row = { element, bar, text, started };
    this.#stages.append(element);
    this.#rows.set(stage, row);
    return row;
  }
}
