/**
 * What the page may ask of its worker.
 *
 * @module
 */

import { AttuneError, checkAborted } from "../src/errors.ts";
import { type Model, parseModel, serializeModel } from "../src/onnx/model.ts";
import type { OnProgress, Task } from "../src/progress.ts";
import type { QuantizeOptions } from "../src/quantize/options.ts";
import { quantize } from "../src/quantize/quantize.ts";
import { renderReport } from "../src/report/html.ts";
import { openFiles } from "../src/samples/open_files.ts";
import type { SampleSet } from "../src/samples/sample.ts";
import type { EnginePool } from "../src/workers/pool.ts";
import { startWorkers } from "../src/workers/web_workers.ts";
import { judge } from "./judge.ts";
import type {
  Assets,
  JobEvent,
  JobOptions,
  NamedFile,
  Outcome,
  PlanView,
  Reopened,
  SamplesView,
  SavedJob,
} from "./messages.ts";
import { Planner } from "./plan_view.ts";
import { commandOf, preprocessOf, quantizeOptionsOf, snippetOf } from "./recipe.ts";
import { discardJob, loadJob, openState, savedJob, saveJob } from "./saved_job.ts";

/** Samples that predictions are told of, at most. */
const MOST_JUDGED = 512;

/** A model as it was given. */
interface OpenModel {
  readonly file: NamedFile;
  readonly model: Model;
  readonly planner: Planner;
}

/** What the page may ask of its worker; calls are answered one after another. */
export class JobService {
  readonly #say: (event: JobEvent) => void;
  readonly #onProgress: OnProgress = (progress) => this.#say({ progress });
  #assets: Assets | undefined;
  #pool: Promise<EnginePool> | undefined;
  #model: OpenModel | undefined;
  #samples: readonly NamedFile[] = [];
  #judged: readonly NamedFile[] = [];

  /** A service that tells `say` what it was not asked for. */
  constructor(say: (event: JobEvent) => void) {
    this.#say = say;
  }

  /** Takes what the page has loaded; says which job was interrupted, if one was. */
  async begin(assets: Assets): Promise<SavedJob | undefined> {
    this.#assets = assets;
    return await savedJob().catch(() => undefined);
  }

  /** Reads a model. */
  async openModel(file: NamedFile, options: JobOptions): Promise<PlanView> {
    const bytes = new Uint8Array(await file.file.arrayBuffer());
    const model = parseModel(bytes, { name: file.path });
    const planner = new Planner(model), view = planner.view(options);
    this.#model = { file, model, planner };
    return view;
  }

  /** The plan for other options. */
  view(options: JobOptions): PlanView {
    return this.#open().planner.view(options);
  }

  /** The coding length of a layer, in bits per weight. */
  async codingLength(options: JobOptions, name: string): Promise<number> {
    return await this.#open().planner.codingLength(options, name);
  }

  /** Widths for a file of so many bytes. */
  async spread(
    options: JobOptions,
    bytes: number,
  ): Promise<Pick<JobOptions, "bits" | "spread">> {
    return await this.#open().planner.spread(options, bytes);
  }

  /** Takes samples to calibrate on, or to judge by, if they fit the model. */
  async setSamples(
    use: "calibrate" | "judge",
    files: readonly NamedFile[],
    options: JobOptions,
  ): Promise<SamplesView> {
    const set = await this.#openSamples(files, options);
    // One is read, so that what does not fit shows now.
    for await (const _ of set.samples()) break;
    if (use === "calibrate") this.#samples = files;
    else this.#judged = files;
    // While the visitor looks at the plan; a job says what is wrong with them.
    void this.#start().catch(() => {});
    return {
      count: set.count,
      warnings: set.warnings.map(({ source, message }) => `${source} is left out: ${message}`),
    };
  }

  /** Quantizes the model; `resume` goes on with the job that was kept. */
  async quantize(
    options: JobOptions,
    { resume }: { readonly resume: boolean },
    { signal }: Task,
  ): Promise<Outcome> {
    const isKept = resume || await this.#keep(options).then(() => true, () => false);
    const checkpoint = isKept ? await openState().catch(() => undefined) : undefined;
    let isOver = true;
    try {
      return await this.#run(options, { checkpoint, resume: resume && isKept, signal });
    } catch (error) {
      // What engines are in the middle of is nobody's business any more.
      this.#stop();
      // As engines end with the page, so that the next one can go on.
      isOver = error instanceof AttuneError && error.code !== "internal";
      throw error;
    } finally {
      checkpoint?.close();
      if (isOver) await discardJob();
    }
  }

  /** Keeps all that the job is made of. */
  #keep(options: JobOptions): Promise<void> {
    const model = this.#open().file;
    return saveJob({ model, samples: this.#samples, judged: this.#judged, options });
  }

  /** The job itself, and what both models say afterwards. */
  async #run(options: JobOptions, job: QuantizeOptions): Promise<Outcome> {
    const { file, planner } = this.#open(), { signal } = job, started = performance.now();
    const pool = await this.#start(), plan = planner.plan(options);
    const samples = await this.#openSamples(this.#samples, options);
    const watch = { signal, onProgress: this.#onProgress };
    const { model: small, report: done } = await quantize(plan, samples.samples(), pool, {
      ...quantizeOptionsOf(options),
      ...job,
      ...watch,
    });
    const judged = this.#judged.length > 0 ? this.#judged : this.#samples;
    const seen = await this.#openSamples(judged, options, MOST_JUDGED);
    const sides = await judge(plan, small, seen.samples(), pool, { ...watch, total: seen.count });
    checkAborted(signal);
    const bytes = serializeModel(small);
    const size = { before: file.file.size, after: bytes.length };
    const command = commandOf(file.path, dataName(this.#samples), options);
    const report = {
      ...done,
      samples: { ...done.samples, skipped: samples.warnings.length },
      file: size,
      command,
    };
    return {
      ...sides,
      report,
      size,
      model: new Blob([bytes], { type: "application/octet-stream" }),
      page: new Blob([renderReport(report)], { type: "text/html" }),
      seen: judged === this.#samples,
      classes: classesOf(judged),
      command,
      snippet: snippetOf(file.path, plan.graph.inputs, options),
      seconds: (performance.now() - started) / 1000,
    };
  }

  /** Takes the job that was kept. */
  async reopen(): Promise<Reopened> {
    const { model, samples, judged, options } = await loadJob();
    const view = await this.openModel(model, options);
    const seen = await this.setSamples("calibrate", samples, options);
    this.#judged = judged;
    return { view, options, samples: seen, files: { calibrate: samples, judge: judged } };
  }

  /** Forgets the job that was kept. */
  async discard(): Promise<void> {
    await discardJob();
  }

  #open(): OpenModel {
    if (this.#model !== undefined) return this.#model;
    throw new AttuneError("bad-option", "Cannot plan without a model: choose one first");
  }

  async #openSamples(
    files: readonly NamedFile[],
    options: JobOptions,
    limit?: number,
  ): Promise<SampleSet> {
    const { inputs } = this.#open().planner.plan(options).graph;
    return await openFiles(files, { inputs, preprocess: preprocessOf(options), limit });
  }

  /** The engines; they start with the first samples, and again after a job was stopped. */
  #start(): Promise<EnginePool> {
    return this.#pool ??= this.#startPool().catch((error) => {
      this.#pool = undefined;
      throw error;
    });
  }

  async #startPool(): Promise<EnginePool> {
    const { engine, ...runtime } = this.#assets!, url = URL.createObjectURL(engine);
    try {
      return await startWorkers(() => {
        const worker = new Worker(url, { type: "module" });
        worker.postMessage(runtime);
        worker.addEventListener("message", ({ data }) => {
          const { fallback } = data as { fallback?: string };
          if (fallback !== undefined) this.#say({ note: `${fallback}; it runs on the processor` });
        });
        return worker;
      });
    } finally {
      URL.revokeObjectURL(url);
    }
  }

  #stop(): void {
    this.#pool?.then((pool) => pool[Symbol.dispose](), () => {});
    this.#pool = undefined;
  }
}

/** The names of the classes: folders, where all samples lie in one. */
function classesOf(files: readonly NamedFile[]): string[] {
  const paths = files.map(({ path }) => path);
  if (!paths.every((path) => path.includes("/"))) return [];
  return [...new Set(paths.map((path) => path.slice(0, path.indexOf("/"))))].sort();
}

/** What the command calls the samples. */
function dataName(files: readonly NamedFile[]): string {
  return files.length === 1 && /\.(npy|npz|jsonl)$/i.test(files[0].path)
    ? files[0].path
    : "./images";
}
