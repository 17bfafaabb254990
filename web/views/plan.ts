/**
 * The plan: what becomes of each layer, with widths that can be changed before any work is done.
 *
 * @module
 */

import { bytes } from "../../src/report/format.ts";
import { WIDTHS } from "../../src/strategies/measures.ts";
import { figure, fill, h } from "../dom.ts";
import type { JobOptions, LayerBits, PlanRow, PlanView } from "../messages.ts";
import { planFields } from "./plan_fields.ts";

/** What the visitor wants of the plan. */
export interface PlanHandlers {
  /** Options are to change. */
  readonly onEdit: (change: Partial<JobOptions>) => void;
  /** The file is to have so many bytes. */
  readonly onSize: (bytes: number) => void;
}

/** Bits at the right end of the bars. */
const BAR_BITS = 8;
/** Milliseconds without a move of the slider until it counts. */
const PAUSE = 120;
const BY = { edge: "first or last layer", slider: "by the slider", you: "by you" } as const;

/** A row of the table, with what changes in it. */
interface Row {
  readonly element: HTMLTableRowElement;
  readonly select: HTMLSelectElement;
  readonly bar: HTMLElement;
  readonly by: HTMLElement;
  readonly size: HTMLElement;
  readonly length: HTMLElement;
}

/** The plan. */
export class PlanTable {
  readonly #place: Element;
  readonly #handlers: PlanHandlers;
  readonly #figures = h("dl", { class: "figures" });
  readonly #fields = h("fieldset", { class: "fields" });
  readonly #reset: HTMLButtonElement;
  readonly #slider: HTMLInputElement;
  readonly #sizeText = h("output", { for: "size" });
  readonly #table = h("tbody");
  readonly #notes = h("div", { class: "notes" });
  readonly #rows = new Map<string, Row>();
  #view: PlanView | undefined;
  #options: JobOptions | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Shows plans in `place`. */
  constructor(place: Element, handlers: PlanHandlers) {
    this.#place = place;
    this.#handlers = handlers;
    this.#reset = h("button", {
      type: "button",
      class: "quiet",
      id: "reset",
      click: () => handlers.onEdit({ spread: [], chosen: [] }),
    }, "Reset the widths of layers");
    this.#slider = h("input", {
      type: "range",
      id: "size",
      min: 0,
      max: 1000,
      input: () => {
        const [least, most] = this.#view!.range;
        const size = Math.round(least + Number(this.#slider.value) / 1000 * (most - least));
        this.#sizeText.textContent = `at most ${bytes(size)}`;
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => handlers.onSize(size), PAUSE);
      },
    });
    fill(
      place,
      this.#figures,
      this.#fields,
      this.#reset,
      h(
        "div",
        { class: "slider" },
        h("label", { for: "size" }, "Size of the file"),
        this.#slider,
        this.#sizeText,
      ),
      h(
        "table",
        { class: "plan" },
        h("caption", { class: "unseen" }, "Layers in the order in which they run"),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, "Layer"),
            h("th", { scope: "col", class: "wide" }, "Operator"),
            h("th", { scope: "col", class: "wide" }, "Weight"),
            h("th", { scope: "col" }, "Bits"),
            h("th", { scope: "col", class: "bar-head" }, "Coding length"),
            h("th", { scope: "col", class: "number" }, "Size"),
          ),
        ),
        this.#table,
      ),
      this.#notes,
    );
  }

  /** The model that is shown. */
  get model(): string | undefined {
    return this.#view?.model;
  }

  /** Whether it can be changed. */
  enable(enabled: boolean): void {
    for (const field of this.#place.querySelectorAll<HTMLInputElement>("select, input, button")) {
      field.disabled = !enabled;
    }
  }

  /** Shows `view`, which `options` led to. */
  show(view: PlanView, options: JobOptions): void {
    const names = (view: PlanView | undefined) => view?.rows.map(({ name }) => name).join("\n");
    const isOther = names(view) !== names(this.#view) || view.model !== this.model;
    this.#view = view;
    this.#options = options;
    if (isOther) {
      this.#rows.clear();
      fill(this.#table, ...view.rows.map((row) => this.#row(row)));
    }
    for (const row of view.rows) this.#update(row);
    this.#showFigures(view);
    this.#showFields(options);
    this.#showSize(view);
    this.#showNotes(view);
  }

  /** Shows the coding length of a layer, in bits per weight. */
  codingLength(name: string, length: number): void {
    const row = this.#rows.get(name);
    if (row === undefined) return;
    row.bar.style.setProperty("--length", String(Math.min(1, length / BAR_BITS)));
    row.length.textContent = `${length.toFixed(1)} bits`;
    row.bar.title = `${
      length.toFixed(2)
    } bits per weight tell this layer's weights to an error of 1 %`;
  }

  #row({ name, op, shape }: PlanRow): HTMLTableRowElement {
    const select = h(
      "select",
      {
        "aria-label": `Bits of ${name}`,
        change: () => this.#choose(name, select.value),
      },
      ...WIDTHS.map((bits) => h("option", { value: bits }, bits)),
      h("option", { value: "skip" }, "float"),
    );
    const bar = h("span", { class: "bar", "aria-hidden": "true" });
    const by = h("span", { class: "by soft small" });
    const size = h("td", { class: "number" }), length = h("span", { class: "length soft small" });
    const element = h(
      "tr",
      {},
      h("th", { scope: "row", class: "name" }, name, by),
      h("td", { class: "wide soft" }, op),
      h("td", { class: "wide soft nowrap" }, shape.join(" × ")),
      h("td", { class: "bits" }, select),
      h("td", { class: "bar-cell" }, bar, length),
      size,
    );
    this.#rows.set(name, { element, select, bar, by, size, length });
    return element;
  }

  #update({ name, bits, by, before, after }: PlanRow): void {
    const row = this.#rows.get(name)!;
    row.select.value = String(bits);
    row.by.textContent = by === undefined ? "" : BY[by];
    row.element.classList.toggle("float", bits === "skip");
    row.bar.style.setProperty("--bits", String(bits === "skip" ? 1 : bits / BAR_BITS));
    fill(row.size, h("span", { class: "wide soft" }, `${bytes(before)} → `), bytes(after));
  }

  #choose(name: string, value: string): void {
    const bits: LayerBits = value === "skip" ? "skip" : Number(value);
    const others = this.#options!.chosen.filter(([layer]) => layer !== name);
    this.#handlers.onEdit({ chosen: [...others, [name, bits]] });
  }

  #showFigures({ size, averageBits, rows, skipped }: PlanView): void {
    const quantized = rows.filter(({ bits }) => bits !== "skip").length;
    fill(
      this.#figures,
      figure("File now", bytes(size.before), this.#view!.inputs),
      figure("File then", bytes(size.after), `${(size.before / size.after).toFixed(1)} × smaller`),
      figure("Bits per weight", averageBits.toFixed(2), "on average"),
      figure(
        "Layers",
        String(quantized),
        `${rows.length - quantized + skipped.length} more stay in float`,
      ),
    );
  }

  #showFields(options: JobOptions): void {
    this.#reset.hidden = options.spread.length + options.chosen.length === 0;
    // What has the focus keeps it: it shows the choice already.
    if (this.#fields.contains(document.activeElement)) return;
    fill(this.#fields, ...planFields(options, this.#handlers.onEdit));
  }

  #showSize({ range: [least, most], size }: PlanView): void {
    if (document.activeElement !== this.#slider) {
      const share = most > least ? (size.after - least) / (most - least) : 0;
      this.#slider.value = String(Math.round(1000 * Math.max(0, Math.min(1, share))));
    }
    this.#sizeText.textContent = bytes(size.after);
    this.#slider.setAttribute("aria-valuetext", bytes(size.after));
  }

  #showNotes({ skipped, prepared }: PlanView): void {
    const list = (title: string, items: readonly string[]) =>
      items.length > 0 &&
      h(
        "details",
        { class: "more" },
        h("summary", {}, `${title} (${items.length})`),
        h("ul", {}, ...items.map((item) => h("li", {}, item))),
      );
    fill(
      this.#notes,
      list(
        "What stays in float",
        skipped.map(({ name, op, reason }) => `${name}, ${op}: ${reason}`),
      ),
      list("What was prepared", prepared),
    );
  }
}
