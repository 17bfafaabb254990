import { parseModel } from "../../src/onnx/model.ts";
const m = parseModel(Deno.readFileSync(Deno.args[0]));
console.log(
  "ir",
  m.proto.irVersion,
  m.proto.opsetImport.map((o) => `${o.domain}:${o.version}`).join(),
);
const v = (x: any) =>
  `${x.name}:${x.type?.value?.value?.elemType}[${
    x.type?.value?.value?.shape?.dim?.map((d: any) => d.value.value) ?? "?"
  }]`;
const g = m.proto.graph;
console.log(
  "in",
  g.input.map(v).join(" "),
  "out",
  g.output.map(v).join(" "),
  "vi",
  g.valueInfo.map(v).join(" "),
);
console.log(
  "init",
  g.initializer.map((t: any) => `${t.name}:${t.dataType}[${t.dims}]`).join(" ").slice(0, 1500),
);
for (const n of g.node) {
  console.log(
    n.domain,
    n.opType,
    n.name,
    n.input.join(","),
    "->",
    n.output.join(","),
    n.attribute.map((a: any) => `${a.name}=${a.i}|${a.ints}`).join(" "),
  );
}
