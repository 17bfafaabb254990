/**
 * Lines of JSON as samples: a file with one sample in each line.
 *
 * @module
 */

import { AttuneError, checkAborted } from "../errors.ts";
import type { ArrayOptions } from "./arrays.ts";
import type { Sample, SampleSet } from "./sample.ts";
import { chooseSpread } from "./sampling.ts";
import { toSample } from "./to_sample.ts";

/** A line of a file. */
interface Line {
  /** Its number, from 1. */
  readonly number: number;
  /** Where it starts and ends, in bytes. */
  readonly start: number;
  readonly end: number;
}

/**
 * Opens a file with one sample in each line: `{"ids": [1, 2], "label": 3}`, tensors by name as
 * nested lists, or the same within `{"inputs": {…}, "label": 3}`; for a model with one input the
 * list alone will do. Numbers are cast to the type that the model wants, if they fit. Empty lines
 * are passed over. The file may be larger than memory: only the lines that are taken are read, one
 * by one. `source` names the file in errors.
 *
 * Throws `AttuneError` `bad-data` if it holds no line, and when samples are read, with the number
 * of the line, if one is no JSON or does not fit the model.
 */
export async function openJsonLines(
  file: Blob,
  source: string,
  options: ArrayOptions,
): Promise<SampleSet> {
  const { inputs, limit = Infinity, seed = 0, signal } = options;
  if (options.labels !== undefined) {
    throw new AttuneError(
      "bad-option",
      `Cannot label "${source}" by another file: give each line its "label"`,
    );
  }
  const lines = await linesOf(file, signal);
  if (lines.length === 0) {
    throw new AttuneError(
      "bad-data",
      `Cannot find samples in "${source}": it has no line; write one sample of JSON in each`,
    );
  }
  const chosen = chooseSpread(lines.length, limit, seed).map((position) => lines[position]);

  async function* samples(): AsyncGenerator<Sample> {
    for (const { number, start, end } of chosen) {
      checkAborted(signal);
      const where = `${source}:${number}`;
      yield toSample(await parseLine(file.slice(start, end), where), inputs, where);
    }
  }
  return { count: chosen.length, warnings: [], samples };
}

async function parseLine(line: Blob, where: string): Promise<unknown> {
  try {
    const value = JSON.parse(await line.text());
    // A name of its own would hide where the line stands.
    return typeof value?.source === "string" ? { ...value, source: where } : value;
  } catch (cause) {
    const { message } = cause as Error;
    throw new AttuneError(
      "bad-data",
      `Cannot read "${where}": the line is no JSON: ${message}; write one sample in each line`,
      { cause },
    );
  }
}

/** The lines that are not empty. */
async function linesOf(file: Blob, signal: AbortSignal | undefined): Promise<Line[]> {
  const [NEWLINE, SPACE] = [0x0a, 0x20], lines: Line[] = [];
  let number = 1, start = 0, at = 0, isEmpty = true;
  const close = () => {
    if (!isEmpty) lines.push({ number, start, end: at });
    [number, start, isEmpty] = [number + 1, at + 1, true];
  };
  // Not all browsers can iterate a stream.
  const reader = file.stream().getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    checkAborted(signal);
    for (const byte of part.value) {
      if (byte === NEWLINE) close();
      else if (byte > SPACE) isEmpty = false;
      at++;
    }
  }
  close();
  return lines;
}
