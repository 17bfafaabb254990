/**
 * What the page and its worker tell each other: plain values.
 *
 * @module
 */

import type { Report } from "../src/report/report.ts";
import type { Evaluation } from "../src/evaluate/metrics.ts";
import type { ProgressEvent } from "../src/progress.ts";
import type { PreprocessPreset } from "../src/samples/preprocess.ts";

/** A file with its path within whatever folder it was chosen from. */
export interface NamedFile {
  /** The path, with slashes. */
  readonly path: string;
  /** Its bytes. */
  readonly file: Blob;
}

/** What engines run models with. */
export interface RuntimeAssets {
  /** The script of onnxruntime-web. */
  readonly script: Blob;
  /** Its WebAssembly. */
  readonly wasm: Blob;
  /** Whether that is the build which can use the graphics processor, and it shall. */
  readonly isGpu: boolean;
}

/** What the page has loaded, and the worker needs: it loads nothing by itself. */
export interface Assets extends RuntimeAssets {
  /** The script of an engine. */
  readonly engine: Blob;
}

/** What the worker says without being asked. */
export type JobEvent =
  | { /** How far the job has come. */ readonly progress: ProgressEvent }
  | { /** What the visitor should know. */ readonly note: string };

/** A width, or the layer stays in float. */
export type LayerBits = number | "skip";

/** How a model is quantized, as far as the page lets it be chosen. */
export interface JobOptions {
  /** Bits of a weight where nothing else says so. */
  readonly bits: number;
  /** Widths that the slider chose, by layer. */
  readonly spread: readonly (readonly [layer: string, bits: number])[];
  /** Widths that the visitor chose, by layer. */
  readonly chosen: readonly (readonly [layer: string, bits: LayerBits])[];
  /** Bits of an activation. */
  readonly activationBits: 4 | 8 | "none";
  /** What is written. */
  readonly format: "qdq" | "packed" | "matmulnbits";
  /** How levels are found. */
  readonly effort: "fast" | "usual" | "thorough";
  /** Decides every random choice. */
  readonly seed: number;
  /** How values of images are scaled. */
  readonly preset: PreprocessPreset;
  /** Whether images are resized before the crop. */
  readonly resize: boolean;
}

/** What a job starts from. */
export const DEFAULTS: JobOptions = {
  bits: 4,
  spread: [],
  chosen: [],
  activationBits: 8,
  format: "qdq",
  effort: "usual",
  seed: 0,
  preset: "imagenet",
  resize: true,
};

/** A layer of a plan. */
export interface PlanRow {
  /** Its name. */
  readonly name: string;
  /** Its operator. */
  readonly op: string;
  /** The shape of its weight. */
  readonly shape: readonly number[];
  /** Its number of weights. */
  readonly weights: number;
  /** Its width, or that it stays in float. */
  readonly bits: LayerBits;
  /** Whose choice the width was, where it is not that of the whole model. */
  readonly by?: "edge" | "slider" | "you";
  /** Bytes of the weight in the model. */
  readonly before: number;
  /** Bytes of levels and scales. */
  readonly after: number;
}

/** A plan as the page shows it. */
export interface PlanView {
  /** The model's file name. */
  readonly model: string;
  /** What it takes and gives, in words. */
  readonly inputs: string;
  /** The layers, in the order in which they run. */
  readonly rows: readonly PlanRow[];
  /** What stays in float for other reasons than a choice here. */
  readonly skipped: Report["skipped"];
  /** What preparation changed, in words. */
  readonly prepared: readonly string[];
  /** Bytes of the file, now and then. */
  readonly size: { readonly before: number; readonly after: number };
  /** The smallest and the largest file that widths of 2 to 8 bits give. */
  readonly range: readonly [number, number];
  /** Bits of a weight on average over the layers that are quantized. */
  readonly averageBits: number;
}

/** What was found in the files that were given as samples. */
export interface SamplesView {
  /** How many. */
  readonly count: number;
  /** What is wrong with some, a sentence each. */
  readonly warnings: readonly string[];
}

/** A job that a reload interrupted. */
export interface SavedJob {
  /** The model's file name. */
  readonly model: string;
  /** Files of samples. */
  readonly files: number;
  /** When it began, in milliseconds since 1970. */
  readonly began: number;
  /** How it was asked for. */
  readonly options: JobOptions;
}

/** The same once it is taken up again. */
export interface Reopened {
  /** Its plan. */
  readonly view: PlanView;
  /** How it was asked for. */
  readonly options: JobOptions;
  /** What it is calibrated on. */
  readonly samples: SamplesView;
  /** Its files of samples. */
  readonly files: {
    readonly calibrate: readonly NamedFile[];
    readonly judge: readonly NamedFile[];
  };
}

/** A class with its share. */
export interface Score {
  /** The class. */
  readonly label: number;
  /** Its probability. */
  readonly share: number;
}

/** What both models say of a sample. */
export interface Prediction {
  /** The sample's name. */
  readonly source: string;
  /** Its class, if known. */
  readonly label?: number;
  /** Squared error of the output relative to the float model's. */
  readonly error: number;
  /** The float model's first classes; none where outputs are no classes. */
  readonly float: readonly Score[];
  /** Those of the quantized one. */
  readonly quantized: readonly Score[];
}

/** How far the quantized model is from the float one somewhere between input and output. */
export interface GrowthPoint {
  /** The layer whose output it is. */
  readonly name: string;
  /** Squared error relative to the float model's. */
  readonly error: number;
}

/** What came of a job. */
export interface Outcome {
  /** What was done, and what was lost. */
  readonly report: Report;
  /** Bytes of the file, before and after. */
  readonly size: { readonly before: number; readonly after: number };
  /** The quantized model. */
  readonly model: Blob;
  /** The report as a page. */
  readonly page: Blob;
  /** How the error grows from layer to layer; none where the model cannot be looked into. */
  readonly growth: readonly GrowthPoint[];
  /** What both models say, worst first. */
  readonly predictions: readonly Prediction[];
  /** The figures over all of them. */
  readonly evaluation: Evaluation;
  /** Whether predictions are of samples that calibration used. */
  readonly seen: boolean;
  /** The names of the classes, where folders tell. */
  readonly classes: readonly string[];
  /** The command that repeats it. */
  readonly command: string;
  /** A script that runs the model. */
  readonly snippet: string;
  /** Seconds that it took. */
  readonly seconds: number;
}
