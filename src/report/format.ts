/**
 * Figures as people write them, on the terminal and on the page.
 *
 * @module
 */

/** Bytes, in powers of 1,000 and three digits: `512 B`, `51.5 kB`, `386 kB`, `13.9 MB`. */
export function bytes(count: number): string {
  const units = ["B", "kB", "MB", "GB"];
  let value = count, unit = 0;
  // 999.5 kB would be written as 1000 kB.
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value.toFixed(unit === 0 || value >= 99.95 ? 0 : 1)} ${units[unit]}`;
}

/** Seconds: `4.2 s`, `35 s`, `3 min 10 s`, `2 h 5 min`. */
export function duration(seconds: number): string {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${whole % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A share from 0 to 1 as a percentage with two digits that count: `0.023 %`, `1.5 %`, `12 %`. */
export function percent(share: number): string {
  const value = 100 * share;
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0 %";
  if (Math.abs(value) < 0.001) return "< 0.001 %";
  return `${Math.abs(value) < 99.5 ? value.toPrecision(2) : value.toFixed(0)} %`;
}
