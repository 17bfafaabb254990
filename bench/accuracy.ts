/**
 * What quantization costs in accuracy, method by method.
 *
 * @module
 */

import {
  type BenchOptions,
  evaluateFile,
  FIGURES,
  figures,
  markdown,
  quantizeAndEvaluate,
  type Section,
  subjects,
} from "./run.ts";

/**
 * Every method with its flags; the learned ones take a quarter of their usual steps, to save hours.
 */
const METHODS: readonly (readonly [name: string, ...flags: string[]])[] = [
  ["nearest"],
  ["adaround", "--iterations", "250"],
  ["attention:gradient", "--iterations", "250"],
  ["attention"],
];

/** The float models on their validation images: that the reading of images is right. */
export async function floatAccuracy(options: BenchOptions): Promise<Section> {
  const rows: string[][] = [];
  for (const subject of subjects(options)) {
    const { top1, samples } = await evaluateFile(subject, subject.model, options);
    rows.push([subject.name, `${samples}`, top1!.toFixed(2), subject.top1.toFixed(2)]);
  }
  return {
    title: "Float accuracy",
    body: markdown(["model", "images", "top-1", "as documented"], rows),
  };
}

/** ResNet20, weights only, at 4, 3 and 2 bits. */
export async function resnet(options: BenchOptions): Promise<Section> {
  const rows: string[][] = [];
  for (const subject of subjects({ ...options, models: ["resnet20"] })) {
    for (const bits of ["4", "3", "2"]) {
      for (const [method, ...more] of METHODS) {
        const flags = ["--bits", bits, "--activation-bits", "none", "--rounding", method, ...more];
        const { evaluation } = await quantizeAndEvaluate(subject, flags, options);
        rows.push([bits, method, ...figures(evaluation)]);
      }
    }
  }
  return {
    title: "ResNet20 on CIFAR-10, weights only",
    body: markdown(["bits", "rounding", ...FIGURES], rows),
  };
}

/** The ImageNet models, method by method. */
export async function accuracy(options: BenchOptions): Promise<Section> {
  const rows: string[][] = [];
  for (const subject of subjects(options).filter(({ name }) => name !== "resnet20")) {
    for (const bits of ["8", "4"]) {
      for (const [method, ...more] of METHODS) {
        const flags = ["--bits", bits, "--activation-bits", "8", "--rounding", method, ...more];
        const { evaluation, report } = await quantizeAndEvaluate(subject, flags, options);
        const smaller = (report.file.before / report.file.after).toFixed(1);
        rows.push([subject.name, `W${bits}A8`, method, ...figures(evaluation), `${smaller}×`]);
        console.error(rows.at(-1)!.join("  "));
      }
    }
  }
  return {
    title: "ImageNet models",
    body: markdown(["model", "bits", "rounding", ...FIGURES, "smaller"], rows),
  };
}

/** What the README shows: the default method, against rounding to nearest. */
export async function headline(options: BenchOptions): Promise<Section> {
  const rows: string[][] = [];
  for (const subject of subjects(options)) {
    for (const [bits, activations] of [["4", "none"], ["4", "8"], ["8", "8"]]) {
      const flags = ["--bits", bits, "--activation-bits", activations];
      const { evaluation, report } = await quantizeAndEvaluate(subject, flags, options);
      const widths = `W${bits}${activations === "none" ? "" : `A${activations}`}`;
      const smaller = `${(report.file.before / report.file.after).toFixed(1)}×`;
      const { calibration } = report.samples;
      rows.push([subject.name, widths, `${calibration}`, ...figures(evaluation), smaller]);
      console.error(rows.at(-1)!.join("  "));
    }
  }
  return {
    title: "The default method on all samples",
    body: markdown(["model", "bits", "samples", ...FIGURES, "smaller"], rows),
  };
}

/** 4-bit weights and activations, layer by layer, and that both runtimes read the file alike. */
export async function coarse(options: BenchOptions): Promise<Section> {
  const rows: string[][] = [], other = options.backend === "web" ? "node" : "web";
  for (const subject of subjects(options)) {
    for (const method of ["nearest", "attention"]) {
      const flags = ["--bits", "4", "--activation-bits", "4", "--rounding", method];
      let elsewhere = "";
      const onFile = async (path: string) => {
        const { top1 } = await evaluateFile(subject, path, { ...options, backend: other });
        elsewhere = top1!.toFixed(2);
      };
      const { evaluation } = await quantizeAndEvaluate(
        subject,
        flags,
        options,
        method === "attention" ? onFile : undefined,
      );
      rows.push([subject.name, method, ...figures(evaluation), elsewhere || "–"]);
      console.error(rows.at(-1)!.join("  "));
    }
  }
  return {
    title: "4-bit weights and activations",
    body: markdown(["model", "rounding", ...FIGURES, `top-1 on ${other}`], rows),
  };
}
