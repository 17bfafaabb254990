/**
 * How far outputs that should be the same are apart.
 *
 * @module
 */

import type { LayerPlan } from "../weights/layer.ts";

/** Squared differences between values that should be the same. */
export class Difference {
  #error = 0;
  #power = 0;
  /** Pairs of different lengths, which were left out. */
  lengths = 0;
  /** Pairs of which one alone is not finite somewhere, which were left out. */
  broken = 0;
  /** Pairs that are both not finite somewhere, and the same there. */
  infinite = 0;

  /** Adds a pair; false where it cannot be compared. */
  add(expected: Float32Array, actual: Float32Array): boolean {
    if (expected.length !== actual.length) {
      this.lengths++;
      return false;
    }
    let error = 0, power = 0, infinite = 0;
    for (let i = 0; i < expected.length; i++) {
      // Where both are the same infinity, or no number, neither is wrong.
      if (Object.is(expected[i], actual[i]) && !Number.isFinite(expected[i])) {
        infinite = 1;
        continue;
      }
      error += (actual[i] - expected[i]) ** 2;
      power += expected[i] ** 2;
    }
    if (!Number.isFinite(error)) {
      this.broken++;
      return false;
    }
    this.#error += error;
    this.#power += power;
    this.infinite += infinite;
    return true;
  }

  /** Σ (actual − expected)² / Σ expected². */
  get relative(): number {
    return this.#power > 0 ? this.#error / this.#power : this.#error > 0 ? Infinity : 0;
  }
}

/** How far apart the float model, the simulation and the file are in one output. */
export class OutputDifferences {
  /** The file from the float model. */
  readonly toFloat: Difference = new Difference();
  /** The file from the simulation. */
  readonly toSimulation: Difference = new Difference();
  /** The simulation from the float model. */
  readonly simulation: Difference = new Difference();
  /** Samples whose output in the float model is not finite. */
  floatBroken = 0;
  /** Whether the output is of floats. */
  isFloat = true;

  /** Adds what the three say to a sample; whether file and float model can be compared. */
  add(float: Float32Array, simulated: Float32Array, file: Float32Array): boolean {
    const comparable = this.toFloat.add(float, file);
    if (!comparable && float.length === file.length && !float.every(Number.isFinite)) {
      this.floatBroken++;
    }
    this.toSimulation.add(simulated, file);
    this.simulation.add(float, simulated);
    return comparable;
  }
}

/** How far apart the float model, the simulation and another form of it are after one layer. */
export class LayerDifferences {
  /** The layer. */
  readonly layer: LayerPlan;
  /** The simulation from the float model. */
  readonly simulation: Difference = new Difference();
  /** The other form from the float model. */
  readonly other: Difference = new Difference();
  /** The other form from the simulation. */
  readonly apart: Difference = new Difference();

  /** No differences of `layer` so far. */
  constructor(layer: LayerPlan) {
    this.layer = layer;
  }

  /** Adds what the layer gives in all three. */
  add(float: Float32Array, simulated: Float32Array, other: Float32Array): void {
    this.simulation.add(float, simulated);
    this.other.add(float, other);
    this.apart.add(simulated, other);
  }
}
