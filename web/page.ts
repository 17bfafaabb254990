/**
 * What the page does as the visitor goes through it: files, plan, job, result.
 *
 * @module
 */

import { AttuneError } from "../src/errors.ts";
import { workerPort } from "../src/workers/ports.ts";
import { Client } from "../src/workers/rpc.ts";
import type { Loaded } from "./assets.ts";
import { fill, find, h } from "./dom.ts";
import type { JobService } from "./job_service.ts";
import {
  DEFAULTS,
  type JobEvent,
  type JobOptions,
  type NamedFile,
  type PlanView,
  type SavedJob,
} from "./messages.ts";
import { aboutEngines } from "./views/about.ts";
import { DropView } from "./views/drops.ts";
import { imageFields } from "./views/image_fields.ts";
import { JobView } from "./views/job.ts";
import { PlanTable } from "./views/plan.ts";
import { showResult } from "./views/result.ts";

/** The page's behaviour. */
export class Page {
  readonly #loaded: Loaded;
  readonly #worker: Client<JobService>;
  readonly #plan: PlanTable;
  readonly #job: JobView;
  readonly #drops: Record<"model" | "calibrate" | "judge", DropView>;
  #options: JobOptions = DEFAULTS;
  /** Files of samples, for their pictures. */
  #files: Record<"calibrate" | "judge", readonly NamedFile[]> = { calibrate: [], judge: [] };
  #hasSamples = false;
  /** Counts edits: answers to older ones are not shown. */
  #edit = 0;

  /** Starts the worker and fills in the page. */
  constructor(loaded: Loaded) {
    this.#loaded = loaded;
    const url = URL.createObjectURL(loaded.job), worker = new Worker(url, { type: "module" });
    this.#worker = new Client<JobService>(workerPort(worker));
    worker.addEventListener("message", ({ data }: MessageEvent<JobEvent>) => {
      // What else it says are answers.
      if ("progress" in data) this.#job.progress(data.progress);
      else if ("note" in data) find("#engines").textContent = `${data.note}.`;
    });
    this.#plan = new PlanTable(find("#plan-view"), {
      onEdit: (change) => this.#change(change),
      onSize: (bytes) => this.#spread(bytes),
    });
    this.#job = new JobView(find("#job-view"), {
      onStart: () => this.#quantize({ resume: false }),
      onCancel: () => this.#cancel(),
    });
    this.#drops = {
      model: new DropView({
        title: "Model",
        hint: "a float32 .onnx file",
        accept: ".onnx",
        onFiles: ([file]) => this.#openModel(file),
      }),
      calibrate: new DropView({
        title: "Samples",
        hint: "images, a folder of them (subfolders are classes), .npz, .npy or .jsonl",
        accept: "image/*,.npz,.npy,.jsonl,.csv",
        folders: true,
        onFiles: (files) => this.#setSamples("calibrate", files),
      }),
      judge: new DropView({
        title: "Samples to judge by",
        hint: "optional: others than those above, for honest figures",
        accept: "image/*,.npz,.npy,.jsonl,.csv",
        folders: true,
        onFiles: (files) => this.#setSamples("judge", files),
      }),
    };
    fill(
      find("#drops"),
      ...Object.values(this.#drops).map(({ element }) => element),
      h(
        "div",
        { class: "example" },
        h(
          "button",
          { type: "button", id: "example", click: () => this.#tryExample() },
          "Try the example",
        ),
        h("span", { class: "soft" }, "ten shapes, 97,000 weights, a few seconds"),
      ),
    );
    imageFields(find("#image-options"), this.#options, (change) => this.#change(change, true));
  }

  /** Hands the worker what it needs, and offers to go on where a reload interrupted. */
  async begin(): Promise<void> {
    const saved = await this.#worker.call("begin", [this.#loaded.assets]);
    aboutEngines(find("#about"));
    if (saved !== undefined) this.#offer(saved);
  }

  #offer(saved: SavedJob): void {
    const place = find("#saved");
    const done = () => place.hidden = true;
    fill(
      place,
      h(
        "p",
        {},
        "A job was interrupted: ",
        h("strong", {}, saved.model),
        `, ${saved.files} file${saved.files === 1 ? "" : "s"} of samples, begun ` +
          `${new Date(saved.began).toLocaleString()}.`,
      ),
      h(
        "div",
        { class: "buttons" },
        h("button", {
          type: "button",
          id: "resume",
          click: () => {
            done();
            this.#resume();
          },
        }, "Resume"),
        h("button", {
          type: "button",
          id: "discard",
          class: "quiet",
          click: () => {
            done();
            this.#worker.call("discard", []);
          },
        }, "Discard"),
      ),
    );
    place.hidden = false;
  }

  async #resume(): Promise<void> {
    await this.#guard("#files-error", async () => {
      const { view, options, samples, files } = await this.#worker.call("reopen", []);
      this.#options = options;
      this.#files = files;
      this.#drops.model.say(view.model);
      this.#drops.calibrate.say(samplesInWords(samples.count));
      if (files.judge.length > 0) this.#drops.judge.say(samplesInWords(files.judge.length));
      imageFields(find("#image-options"), options, (change) => this.#change(change, true));
      this.#showPlan(view);
      this.#hasSamples = true;
      await this.#quantize({ resume: true });
    });
  }

  async #tryExample(): Promise<void> {
    const { model, calib, val } = this.#loaded.example;
    await this.#openModel(model);
    await this.#setSamples("calibrate", calib);
    await this.#setSamples("judge", val);
  }

  async #openModel(file: NamedFile): Promise<void> {
    const { model } = this.#drops;
    model.say("Reading…");
    // Widths belong to the layers of one model.
    const options = { ...this.#options, spread: [], chosen: [] };
    const view = await this.#guard(
      "#files-error",
      () => this.#worker.call("openModel", [file, options]),
    );
    if (view === undefined) return model.say(undefined);
    this.#options = options;
    model.say(file.path);
    this.#showPlan(view);
    if (this.#files.calibrate.length > 0) {
      await this.#setSamples("calibrate", this.#files.calibrate);
    }
    await this.#measure(view);
  }

  async #setSamples(use: "calibrate" | "judge", files: readonly NamedFile[]): Promise<void> {
    if (files.length === 0) return;
    this.#files[use] = files;
    const drop = this.#drops[use];
    // Which inputs they must fit, only a model says.
    if (find("#plan").hidden) return drop.say(`${files.length} files, to be read with the model`);
    drop.say("Reading…");
    const samples = await this.#guard(
      "#files-error",
      () => this.#worker.call("setSamples", [use, files, this.#options]),
    );
    if (samples === undefined) this.#files[use] = [];
    drop.say(samples && samplesInWords(samples.count));
    drop.warn(samples?.warnings ?? []);
    if (use === "calibrate") this.#hasSamples = samples !== undefined;
    this.#job.ready(this.#hasSamples);
  }

  /** Takes over what the visitor chose; of images, samples are tried again. */
  async #change(change: Partial<JobOptions>, images = false): Promise<void> {
    this.#options = { ...this.#options, ...change };
    if (images) {
      for (const use of ["calibrate", "judge"] as const) {
        await this.#setSamples(use, this.#files[use]);
      }
      return;
    }
    if (find("#plan").hidden) return;
    const edit = ++this.#edit;
    const view = await this.#guard("#plan-error", () => this.#worker.call("view", [this.#options]));
    if (view !== undefined && edit === this.#edit) this.#showPlan(view);
    if (view !== undefined && ("format" in change || "activationBits" in change)) {
      await this.#measure(view);
    }
  }

  /** Spreads bits over layers for a file of `bytes`. */
  async #spread(bytes: number): Promise<void> {
    const edit = ++this.#edit;
    const spread = await this.#guard(
      "#plan-error",
      () => this.#worker.call("spread", [this.#options, bytes]),
    );
    if (spread !== undefined && edit === this.#edit) await this.#change(spread);
  }

  #showPlan(view: PlanView): void {
    find("#plan").hidden = find("#job").hidden = false;
    this.#plan.show(view, this.#options);
    this.#job.ready(this.#hasSamples);
  }

  /** Coding lengths, layer by layer, so that edits come in between. */
  async #measure({ model, rows }: PlanView): Promise<void> {
    for (const { name } of rows) {
      if (this.#plan.model !== model) return;
      const length = await this.#worker.call("codingLength", [this.#options, name])
        .catch(() => undefined);
      if (length !== undefined) this.#plan.codingLength(name, length);
    }
  }

  async #quantize(how: { readonly resume: boolean }): Promise<void> {
    const options = this.#options;
    this.#job.start();
    this.#plan.enable(false);
    find("#result").hidden = true;
    const outcome = await this.#guard(
      "#job-error",
      () => this.#worker.call("quantize", [options, how]),
    );
    this.#job.end(outcome?.seconds);
    this.#plan.enable(true);
    if (outcome === undefined) return;
    const files = this.#files.judge.length > 0 ? this.#files.judge : this.#files.calibrate;
    find("#result").hidden = false;
    const shown = showResult(find("#result-view"), outcome, files);
    find("#result").focus();
    await shown;
  }

  #cancel(): void {
    this.#worker.stop(new AttuneError("aborted", "Cancelled"));
    this.#worker.resume();
  }

  /** Does `work`; what goes wrong is said at `place`, and the page goes on. */
  async #guard<T>(place: string, work: () => Promise<T>): Promise<T | undefined> {
    const error = find(place);
    error.textContent = "";
    try {
      return await work();
    } catch (cause) {
      const { message } = cause as Error;
      const isCancelled = cause instanceof AttuneError && cause.code === "aborted";
      error.classList.toggle("soft", isCancelled);
      error.textContent = isCancelled ? "Cancelled. Nothing was written." : `${message}.`;
      return undefined;
    }
  }
}

function samplesInWords(count: number): string {
  return `${count} sample${count === 1 ? "" : "s"}`;
}
