/** What the entries of the package export, a line for each name and each of its members. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { root, run } from "./command_line.ts";

/** A type as `deno doc --json` tells it: `value` depends on the kind. */
interface DocType {
  readonly kind: string;
  readonly repr?: string;
  // deno-lint-ignore no-explicit-any -- a shape for each kind
  readonly value: any;
}

/** A parameter; one that is assigned to has a default. */
interface DocParameter {
  readonly kind: string;
  readonly name?: string;
  readonly optional?: boolean;
  readonly tsType?: DocType;
  readonly left?: DocParameter;
  readonly arg?: DocParameter;
}

interface DocFunction {
  readonly params: readonly DocParameter[];
  readonly returnType?: DocType;
  readonly typeParams?: readonly { name: string; constraint?: DocType }[];
}

interface DocMember {
  readonly name: string;
  readonly kind?: string;
  readonly accessibility?: string;
  readonly isStatic?: boolean;
  readonly readonly?: boolean;
  readonly optional?: boolean;
  readonly tsType?: DocType;
  readonly functionDef?: DocFunction;
}

interface DocDeclaration {
  readonly kind: string;
  readonly def: Partial<DocFunction> & {
    readonly constructors?: readonly (DocMember & DocFunction)[];
    readonly properties?: readonly DocMember[];
    readonly methods?: readonly (DocMember & Partial<DocFunction>)[];
    readonly callSignatures?: readonly DocFunction[];
    readonly extends?: string | readonly DocType[];
    readonly implements?: readonly DocType[];
    readonly tsType?: DocType;
    readonly kind?: string;
  };
}

interface Documentation {
  readonly nodes: Record<string, {
    readonly symbols: readonly { name: string; declarations: readonly DocDeclaration[] }[];
  }>;
}

/** The lines of every exported name, by `ENTRY NAME` as deno.json calls the entry. */
export async function publicApi(): Promise<Map<string, string>> {
  const { exports } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8"));
  const entries = Object.entries(exports as Record<string, string>);
  const { code, stdout, stderr } = await run(
    Deno.execPath(),
    ["doc", "--json", ...entries.map(([, path]) => path)],
    root,
  );
  if (code !== 0) throw new Error(stderr);
  const { nodes } = JSON.parse(stdout) as Documentation;
  const api = new Map<string, string>();
  for (const [entry, path] of entries) {
    const { symbols } = nodes[pathToFileURL(join(root, path)).href];
    for (const { name, declarations } of [...symbols].sort(byName)) {
      api.set(`${entry} ${name}`, declarations.map((d) => declared(name, d)).join("\n"));
    }
  }
  return api;
}

const byName = (a: { name: string }, b: { name: string }) =>
  a.name < b.name ? -1 : a.name > b.name ? 1 : 0;

/** The lines of one declaration. */
function declared(name: string, { kind, def }: DocDeclaration): string {
  switch (kind) {
    // What another entry exports, too, is told there.
    case "reference":
      return `${name}, as elsewhere`;
    case "variable":
      return `${def.kind} ${name}${typed(def.tsType)}`;
    case "typeAlias":
      return `type ${name} = ${typeText(def.tsType)}`;
    case "function":
      return `function ${name}${signature(def as DocFunction)}`;
    case "class":
    case "interface":
      return [`${kind} ${name}${heritage(def)}`, ...members(def).map((line) => `  ${line}`)]
        .join("\n");
    default:
      throw new Error(`${name} is a ${kind}, which is not known here`);
  }
}

function heritage({ extends: base = [], implements: roles = [] }: DocDeclaration["def"]): string {
  const bases = typeof base === "string" ? [base] : base.map(typeText);
  return (bases.length > 0 ? ` extends ${bases.join(", ")}` : "") +
    (roles.length > 0 ? ` implements ${roles.map(typeText).join(", ")}` : "");
}

/** The public members of a class, an interface or a literal type, in their order. */
function members(def: DocDeclaration["def"]): string[] {
  const isPublic = (member: DocMember) => member.accessibility !== "private";
  return [
    ...(def.constructors ?? []).map((member) => `constructor${signature(member)}`),
    ...(def.callSignatures ?? []).map(signature),
    ...(def.properties ?? []).filter(isPublic).map((member) =>
      `${member.isStatic ? "static " : ""}${member.readonly ? "readonly " : ""}` +
      `${member.name}${member.optional ? "?" : ""}${typed(member.tsType)}`
    ),
    ...(def.methods ?? []).filter(isPublic).map((member) => {
      const { params = [], returnType, typeParams } = member.functionDef ?? member;
      const accessor = { getter: "get ", setter: "set " }[member.kind ?? ""] ?? "";
      return `${member.isStatic ? "static " : ""}${accessor}${member.name}` +
        `${member.optional ? "?" : ""}${signature({ params, returnType, typeParams })}`;
    }),
  ];
}

/** Parameters and result. */
function signature({ params, returnType, typeParams = [] }: DocFunction): string {
  const generic = typeParams.map(({ name, constraint }) =>
    name + (constraint === undefined ? "" : ` extends ${typeText(constraint)}`)
  );
  return (generic.length > 0 ? `<${generic.join(", ")}>` : "") +
    `(${params.map(parameter).join(", ")})${typed(returnType)}`;
}

function parameter({ kind, name, optional, tsType, left, arg }: DocParameter): string {
  if (kind === "assign") return parameter({ ...left!, optional: true });
  if (kind === "rest") return `...${parameter({ ...arg!, tsType: tsType ?? arg!.tsType })}`;
  return `${name ?? "{ … }"}${optional ? "?" : ""}${typed(tsType)}`;
}

const typed = (type: DocType | undefined) => type === undefined ? "" : `: ${typeText(type)}`;

/** A type as it would be written. */
function typeText(type: DocType | undefined): string {
  if (type === undefined) return "unknown";
  const { kind, value, repr } = type;
  const list = (types: readonly DocType[]) => types.map(typeText).join(", ");
  switch (kind) {
    case "keyword":
    case "this":
      return repr ?? kind;
    case "literal":
      return value.kind === "string" ? JSON.stringify(value.string) : `${repr}`;
    case "typeRef":
      return value.typeName + (value.typeParams ? `<${list(value.typeParams)}>` : "");
    case "typeQuery":
      return `typeof ${repr}`;
    case "union":
      return value.map(inner).join(" | ");
    case "intersection":
      return value.map(inner).join(" & ");
    case "array":
      return `${inner(value)}[]`;
    case "tuple":
      return `[${list(value)}]`;
    case "rest":
      return `...${typeText(value)}`;
    case "optional":
      return `${inner(value)}?`;
    case "parenthesized":
      return `(${typeText(value)})`;
    case "typeOperator":
      return `${value.operator} ${typeText(value.tsType)}`;
    case "indexedAccess":
      return `${inner(value.objType)}[${typeText(value.indexType)}]`;
    case "typeLiteral":
      return `{ ${members(value).join("; ")} }`;
    case "fnOrConstructor": {
      const call = signature({ params: value.params });
      return `${value.constructor ? "new " : ""}${call} => ${typeText(value.tsType)}`;
    }
    default:
      throw new Error(`A type of the public interface is ${kind}, which is not known here`);
  }
}

/** A type inside another, in parentheses where it would be read as something else there. */
const inner = (type: DocType) =>
  type.kind === "fnOrConstructor" ? `(${typeText(type)})` : typeText(type);
