/**
 * What is asked for, from the query of an address: `?bits=4&format=packed&seed=1`.
 *
 * @module
 */

import type { BitBudget, PlanOptions, WeightOptions } from "attune/workerd";
import { HttpError } from "./errors.ts";

/** What a request may ask for. */
export interface Asked {
  /** What the plan decides by. */
  readonly plan: PlanOptions;
  /** How weights are rounded. */
  readonly rounding: Pick<WeightOptions, "rounding" | "biasCorrection" | "seed">;
}

/** Every parameter, with a line that says what it is. */
export const PARAMETERS: Readonly<Record<string, string>> = {
  bits: "bits of a weight, 2 to 8, or ternary [4]",
  averageBits: "instead of bits: chosen for each layer, so many on average",
  maxSize: "instead of bits: chosen for each layer, for a file of so many bytes",
  activationBits: "none, or 8 or 4, which need samples [none]",
  edgeBits: "bits of the first and the last layer [8]",
  format: "what is written: packed, qdq, matmulnbits or float [packed]",
  granularity: "how many weights share a scale: channel, tensor or a number of them [channel]",
  rounding: "nearest, attention or stochastic [nearest; attention with samples]",
  biasCorrection: "whether biases set means right: true or false [true]",
  seed: "decides every random choice [0]",
};

/** What `query` asks for; what each value may be, the library checks. */
export function optionsFrom(query: URLSearchParams): Asked {
  for (const name of new Set(query.keys())) {
    if (!Object.hasOwn(PARAMETERS, name)) {
      throw bad(`There is no parameter "${name}": give ${Object.keys(PARAMETERS).join(", ")}`);
    }
    if (query.getAll(name).length > 1) throw bad(`${name} is given twice: give it once`);
  }
  const activationBits = choice(query, "activationBits", ["none", "8", "4"]) ?? "none";
  const kind = choice(query, "rounding", ["nearest", "attention", "stochastic"]);
  const biasCorrection = choice(query, "biasCorrection", ["true", "false"]);
  return {
    plan: {
      bits: bitsFrom(query),
      activationBits: activationBits === "none" ? "none" : activationBits === "8" ? 8 : 4,
      edgeBits: number(query, "edgeBits"),
      format: choice(query, "format", ["packed", "qdq", "matmulnbits", "float"]) ??
        "packed",
      granularity: granularityFrom(query),
    },
    rounding: {
      rounding: kind && { kind },
      biasCorrection: biasCorrection && biasCorrection === "true",
      seed: number(query, "seed"),
    } as Asked["rounding"],
  };
}

function bitsFrom(query: URLSearchParams): PlanOptions["bits"] {
  const given = ["bits", "averageBits", "maxSize"].filter((name) => query.has(name));
  if (given.length > 1) throw bad(`${given.join(" and ")} do not go together: give one of them`);
  if (query.get("bits") === "ternary") return "ternary";
  const average = number(query, "averageBits"), bytes = number(query, "maxSize");
  const budget: BitBudget | undefined = average !== undefined
    ? { kind: "average", bits: average }
    : bytes !== undefined
    ? { kind: "size", bytes }
    : undefined;
  return budget ? { kind: "budget", budget } : number(query, "bits");
}

function granularityFrom(query: URLSearchParams): PlanOptions["granularity"] {
  const text = query.get("granularity");
  if (text === null) return undefined;
  if (text === "channel" || text === "tensor") return { kind: text };
  return { kind: "group", size: number(query, "granularity")! };
}

function number(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null) return undefined;
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text);
  throw bad(`Cannot use ${name}=${text}: give a number`);
}

function choice<T extends string>(
  query: URLSearchParams,
  name: string,
  choices: readonly T[],
): T | undefined {
  const text = query.get(name);
  if (text === null) return undefined;
  const found = choices.find((each) => each === text);
  if (found === undefined) {
    throw bad(`Cannot use ${name}=${text}: give ${choices.join(", ")}`);
  }
  return found;
}

function bad(message: string): HttpError {
  return new HttpError(400, "bad-option", message);
}
