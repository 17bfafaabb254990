/** Reports to draw pages of. */

import type { LayerReport, Report } from "../../src/report/report.ts";

/** A layer. */
export const LAYER: LayerReport = {
  name: "conv1",
  op: "Conv",
  weight: "conv1.weight",
  shape: [16, 8, 3, 3],
  groups: 1,
  bits: 2,
  grid: "2",
  storedBits: 4,
  storage: "qdq",
  granularity: "channel",
  bytesBefore: 4608,
  bytesAfter: 640,
  error: { nearest: 0.1, final: 0.01 },
  histogram: { lo: -3, hi: 2, counts: [0, 100, 400, 200, 50] },
  levels: { lo: -2, hi: 1 },
};

/** A report with a bit of everything. */
export const REPORT: Report = {
  version: "1.2.3",
  model: "model.onnx",
  method: "attention",
  options: {
    bits: 2,
    granularity: { kind: "group", size: 32 },
    overrides: [{ pattern: "head*", bits: "skip" }],
    floatTargetShift: true,
    scaleRefit: false,
  },
  seed: 7,
  samples: { calibration: 100, heldOut: 6, skipped: 0 },
  size: { before: 5000, after: 1000 },
  layers: [LAYER, {
    ...LAYER,
    name: "conv2",
    bits: 8,
    grid: "8",
    storedBits: 8,
    note: "first or last layer",
  }],
  tables: [],
  blocks: [{
    layers: ["head"],
    iterations: 30,
    outcome: "learned",
    error: { before: 0.2, after: 0.1 },
  }],
  skipped: [{ name: "head", op: "Gemm", reason: "asked for" }],
  warnings: ["the bias of conv1 would overflow"],
  check: {
    mseToFloat: 0.0123,
    agreementToFloat: 83.3333,
    mseToSimulation: 0.00021,
    interval: { mseToFloat: [0.01, 0.02], agreementToFloat: [60, 95] },
    outputs: [{ name: "y", mseToFloat: 0.0123, mseToSimulation: 0.00021 }],
  },
  stages: [{ name: "rounding", seconds: 65 }, { name: "check", seconds: 2 }],
  peakMemory: 3e8,
};
