/**
 * Weights that several layers share, where overrides want different things of them.
 *
 * @module
 */

import { freshName, Graph, tensorNames } from "../graph/graph.ts";
import { copyMessage, type Model } from "../onnx/model.ts";
import { matchesPattern, type Override, type ResolvedPlanOptions } from "./options.ts";
import { findTargets } from "../weights/targets.ts";
import type { Target } from "../weights/target.ts";

/** The last override that matches `target`, by its name or its weight's. */
export function overrideOf(
  { overrides }: Pick<ResolvedPlanOptions, "overrides">,
  target: Target,
): Override | undefined {
  return overrides.findLast(({ pattern }) =>
    matchesPattern(pattern, target.name) || matchesPattern(pattern, target.weight)
  );
}

/**
 * Gives layers that share a weight, and for which overrides differ, a copy each of it; those for
 * which they agree still share one.
 *
 * @returns what was changed, in words; `model` is changed.
 */
export function splitShared(model: Model, options: ResolvedPlanOptions): string[] {
  if (options.overrides.length === 0) return [];
  const graph = new Graph(model), names = tensorNames(model), changes: string[] = [];
  const byWeight = grouped(findTargets(graph).targets, ({ weight }) => weight);
  for (const [weight, targets] of byWeight) {
    const bySetting = grouped(targets, (target) => overrideOf(options, target)?.bits);
    if (bySetting.size < 2) continue;
    // An override by the weight's name speaks of the tensor that keeps it.
    const keeps = targets.find((target) => {
      const pattern = overrideOf(options, target)?.pattern;
      return pattern !== undefined && !matchesPattern(pattern, target.name);
    }) ?? targets[0];
    for (const members of bySetting.values()) {
      if (members.includes(keeps)) continue;
      const copy = freshName(`${weight}_${members[0].name}`, names);
      model.proto.graph.initializer.push(
        Object.assign(copyMessage(graph.constant(weight)!), { name: copy }),
      );
      for (const { node, weightInput } of members) {
        // A Transpose of the weight is this layer's alone.
        const reader = node.input[weightInput] === weight
          ? node
          : graph.producer(node.input[weightInput])!;
        reader.input = reader.input.map((name) => name === weight ? copy : name);
      }
      const which = members.map(({ name }) => name).join(", ");
      changes.push(`the weight ${weight} copied for ${which}, which an override sets apart`);
    }
  }
  return changes;
}

/** `values` by what `keyOf` says of each, in the order of their first. */
function grouped<T, K>(values: readonly T[], keyOf: (value: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const value of values) groups.set(keyOf(value), [...groups.get(keyOf(value)) ?? [], value]);
  return groups;
}
