/**
 * The options that errors of the library name, as flags of the command line.
 *
 * @module
 */

import type { AttuneError, Remedy } from "../errors.ts";

/** By option, what a user adds to the command line, or leaves out of it. */
const FLAGS: { readonly [O in Remedy["option"]]: (remedy: Remedy & { option: O }) => string } = {
  activationBits: ({ value }) => `--activation-bits ${value}`,
  backend: ({ value }) => `--backend ${value}`,
  damping: () => "--damping X",
  edgeBits: () => "--edge-bits N",
  format: () => "--format NAME",
  granularity: () => "--granularity KIND",
  nested: ({ value }) => `--nested ${value.join()}`,
  overrides: ({ value }) =>
    `--override ${quoted(value ? `${value.pattern}=${value.bits}` : "NAME=skip")}`,
  resume: () => "without --resume",
  samples: () => "--data PATH",
};

/** Every option that an error may name. */
export const REMEDY_OPTIONS: readonly string[] = Object.keys(FLAGS);

/** What to add to the command line for `remedy`. */
export function flagOf<O extends Remedy["option"]>(remedy: Remedy & { option: O }): string {
  return FLAGS[remedy.option as O](remedy);
}

/** What `error` says, with the flags that mend it in brackets. */
export function messageWithFlags({ message, remedies }: AttuneError): string {
  return remedies.length === 0 ? message : `${message} (${remedies.map(flagOf).join(" or ")})`;
}

/** `text` as one word of a shell, in quotes. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
