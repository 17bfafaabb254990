/**
 * The kernel's other build, whose sums may use fused multiply-adds.
 *
 * Its results differ in the last bits of sums from machine to machine, so levels may differ, too:
 * it is for those who want speed more than the same file everywhere.
 *
 * @module
 */

/**
 * Compiles the relaxed build of the kernel; undefined where the host has no relaxed SIMD.
 *
 * @example
 * ```ts
 * import { Kernel } from "./kernel.ts";
 * import { relaxedModule } from "./relaxed.ts";
 *
 * // Without relaxed SIMD, undefined: the strict build.
 * using kernel = Kernel.create(await relaxedModule());
 * if (kernel.f32(2).length !== 2) throw new Error("unexpected");
 * ```
 */
export async function relaxedModule(): Promise<WebAssembly.Module | undefined> {
  const { MODULE } = await import("./module_relaxed.ts");
  const bytes = Uint8Array.from(atob(MODULE), (c) => c.charCodeAt(0));
  // The probe is the module itself: a host without these instructions finds it invalid.
  return WebAssembly.validate(bytes) ? new WebAssembly.Module(bytes) : undefined;
}
