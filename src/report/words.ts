/**
 * Options, counts and numbers in words, for pages.
 *
 * @module
 */

/** `floatTargetShift` as `float target shift`. */
export function words(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

/** An option's value in words; of an object with a kind, the kind comes first. */
export function setting(value: unknown): string {
  if (typeof value === "boolean") return value ? "on" : "off";
  if (value === null || value === undefined) return "none";
  if (Array.isArray(value)) return value.length === 0 ? "none" : value.map(setting).join("; ");
  if (typeof value !== "object") return String(value);
  return Object.entries(value).filter(([, part]) => part !== undefined && part !== null)
    .map(([name, part]) => name === "kind" ? setting(part) : `${words(name)} ${setting(part)}`)
    .join(", ") || "none";
}

/** The options that say something, by their names in words. */
export function settingsOf(
  options: Readonly<Record<string, unknown>>,
): (readonly [name: string, value: string])[] {
  return Object.entries(options).filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value]) => [words(name), setting(value)] as const);
}

/** `1 layer`, `3 layers`. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** `2nd`, `4th`, `21st`, `12th`. */
export function ordinal(count: number): string {
  const tens = count % 100 >= 11 && count % 100 <= 13;
  return `${count}${tens ? "th" : ["th", "st", "nd", "rd"][count % 10] ?? "th"}`;
}

/** A number with three digits that count. */
export function value(number: number): string {
  return String(Number(number.toPrecision(3))).replace("-", "\u2212");
}
