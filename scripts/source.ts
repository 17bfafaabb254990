/**
 * TypeScript as a row of tokens, as far as a style check needs it: where comments and literals are,
 * and where functions begin and end. No types, no scopes.
 *
 * @module
 */

/** A piece of source. */
export interface Token {
  readonly kind: "word" | "literal" | "comment" | "sign";
  readonly text: string;
  /** Index of its first character. */
  readonly at: number;
}

/** A function, method or arrow function, from its declaration to the end of its body. */
export interface FunctionSpan {
  /** The name, or the one of what it is given to; empty where there is none. */
  readonly name: string;
  /** Its first and its last line, from 1. */
  readonly first: number;
  readonly last: number;
}

const REGULAR_EXPRESSION = /\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/[a-z]*/y;
/** What a token looks like; the first that fits is taken. Templates are read by hand. */
const PATTERNS: readonly [Token["kind"], RegExp][] = [
  ["comment", /\/\/.*|\/\*[^]*?\*\//y],
  ["literal", REGULAR_EXPRESSION],
  ["literal", /"(?:\\[^]|[^"\\\n])*"|'(?:\\[^]|[^'\\\n])*'/y],
  ["word", /#?[\p{ID_Start}$_][\p{ID_Continue}$]*|\.?\d[\w.]*/yu],
  ["sign", /=>|\.\.\.|\?\.|\?\?|[=!]==?|&&|\|\||[^]/yu],
];
/** Words after which a slash begins a regular expression. */
const BEFORE_EXPRESSION = new Set(
  "return typeof case in of do else void delete throw new await yield instanceof".split(" "),
);
/** Words before a parenthesis and a brace that are no function. */
const STATEMENTS = new Set("if for while switch catch with".split(" "));
/** Words of a type that another word follows, or that follow one. */
const TYPE_OPERATORS = new Set(
  "is asserts keyof typeof readonly infer extends unique new".split(" "),
);
/** Lines that nothing can make shorter: with an address, or an import, in an example too. */
const UNBREAKABLE = /https?:\/\/|^(?: \* )?(?:import|export)\b.* from\b/;
const PAIRS: Record<string, string> = { "(": ")", "[": "]", "{": "}" };
const OPENING = new Set(Object.keys(PAIRS)), CLOSING = new Set(Object.values(PAIRS));

/** The tokens of `code`. What stands in `${…}` of a template is tokens between parentheses. */
export function tokensOf(code: string): Token[] {
  const tokens: Token[] = [];
  // Where a brace of code ends, "}"; where one ends that a template opened, "`".
  const open: string[] = [];
  for (let at = 0; at < code.length;) {
    const inTemplate = open.at(-1) === "`" && code[at] === "}";
    if (code[at] === "`" || inTemplate) {
      if (inTemplate) tokens.push({ kind: "sign", text: ")", at }), open.pop();
      const end = templateEnd(code, at + 1);
      if (end.at > at) tokens.push({ kind: "literal", text: code.slice(at, end.at), at });
      if (end.opens) tokens.push({ kind: "sign", text: "(", at: end.at }), open.push("`");
      at = end.at + (end.opens ? 2 : 0);
      continue;
    }
    const space = match(/\s+/y, code, at);
    if (space === undefined) {
      const token = tokenAt(code, at, tokens);
      if (token.text === "{") open.push("}");
      else if (token.text === "}") open.pop();
      tokens.push(token);
    }
    at += (space ?? tokens.at(-1)!.text).length;
  }
  return tokens;
}

/** The token that begins at `at`, after those `before` it. */
function tokenAt(code: string, at: number, before: readonly Token[]): Token {
  for (const [kind, pattern] of PATTERNS) {
    if (pattern === REGULAR_EXPRESSION && !beginsExpression(before)) continue;
    const text = match(pattern, code, at);
    if (text !== undefined) return { kind, text, at };
  }
  throw new RangeError(`No token at ${at}`);
}

/** Where the text of a template that goes on at `at` ends, and whether with a `${`. */
function templateEnd(code: string, at: number): { at: number; opens: boolean } {
  for (; at < code.length; at++) {
    if (code[at] === "\\") at++;
    else if (code[at] === "`") return { at: at + 1, opens: false };
    else if (code[at] === "$" && code[at + 1] === "{") return { at, opens: true };
  }
  return { at, opens: false };
}

function match(pattern: RegExp, code: string, at: number): string | undefined {
  pattern.lastIndex = at;
  return pattern.exec(code)?.[0];
}

/** Whether a slash after `tokens` begins a regular expression rather than divides. */
function beginsExpression(tokens: readonly Token[]): boolean {
  const last = tokens.findLast(({ kind }) => kind !== "comment");
  if (last === undefined) return true;
  if (last.kind === "word") return BEFORE_EXPRESSION.has(last.text);
  return last.kind === "sign" && !CLOSING.has(last.text);
}

/** The functions in `code` that have a body, in the order of their ends. */
export function functionsOf(code: string): FunctionSpan[] {
  const tokens = tokensOf(code).filter(({ kind }) => kind !== "comment");
  const lineAt = lineCounter(code);
  const functions: FunctionSpan[] = [], opened: number[] = [];
  // For each token that closes something, what opens it; and the other way round.
  const partner = new Map<number, number>();
  tokens.forEach(({ text, kind }, i) => {
    if (kind !== "sign") return;
    if (OPENING.has(text)) opened.push(i);
    if (!CLOSING.has(text)) return;
    const from = opened.pop();
    if (from !== undefined) partner.set(i, from).set(from, i);
  });
  let typeFrom = 0, typeTo = 0;
  tokens.forEach(({ text, kind }, close) => {
    if (kind !== "sign" || text !== ")") return;
    const openAt = partner.get(close);
    if (openAt === undefined || tokens[openAt].at === tokens[close].at) return;
    const head = headOf(tokens, openAt);
    if (STATEMENTS.has(head.name)) return;
    // What stands in the type of a result is a type.
    if (typeFrom < openAt && openAt < typeTo) return;
    const start = bodyStart(tokens, partner, close + 1);
    const end = start === undefined ? undefined : bodyEnd(tokens, partner, start);
    if (end === undefined) return;
    [typeFrom, typeTo] = [close, start!];
    functions.push({
      name: head.name,
      first: lineAt(tokens[head.at].at),
      last: lineAt(tokens[end].at),
    });
  });
  return functions;
}

/** The name before the parameters that begin at token `openAt`, and where it stands. */
function headOf(tokens: readonly Token[], openAt: number): { name: string; at: number } {
  let at = openAt - 1;
  // Over type parameters, back to the name.
  if (tokens[at]?.text === ">") {
    for (let depth = 0; at >= 0; at--) {
      if (tokens[at].text === ">") depth++;
      if (tokens[at].text === "<" && --depth === 0) break;
    }
    at--;
  }
  while (tokens[at]?.text === "async" || tokens[at]?.text === "function") at--;
  if (tokens[at]?.kind === "word") return { name: tokens[at].text, at };
  // `const name = (…) =>`, `name: (…) =>`
  if (tokens[at]?.text === "=" || tokens[at]?.text === ":") {
    if (tokens[at - 1]?.kind === "word") return { name: tokens[at - 1].text, at: at - 1 };
  }
  return { name: "", at: Math.min(at + 1, openAt) };
}

/**
 * The brace or arrow that begins a body, at token `i`, after parameters, or behind the type that
 * stands there: a brace after an operand of a type is no part of it.
 */
function bodyStart(
  tokens: readonly Token[],
  partner: ReadonlyMap<number, number>,
  i: number,
): number | undefined {
  const text = (k: number) => tokens[k]?.kind === "literal" ? '""' : tokens[k]?.text ?? ";";
  if (text(i) === "{" || text(i) === "=>") return i;
  if (text(i) !== ":") return undefined;
  let operand = false;
  for (i++; !";,=?".includes(text(i)) && !CLOSING.has(text(i)); i++) {
    if (operand && (text(i) === "{" || text(i) === "=>" && text(i - 1) !== ")")) return i;
    if (OPENING.has(text(i))) i = partner.get(i) ?? tokens.length;
    else if (text(i) === "<") i = closingAngle(tokens, i);
    else if (tokens[i].kind === "sign" || TYPE_OPERATORS.has(text(i))) {
      operand = false;
      continue;
    } else if (operand) return undefined;
    operand = true;
  }
  return undefined;
}

/** The last token of the body that begins at token `i`; none if there is none. */
function bodyEnd(
  tokens: readonly Token[],
  partner: ReadonlyMap<number, number>,
  i: number,
): number | undefined {
  if (tokens[i].text === "{") return partner.get(i);
  if (tokens[i + 1]?.text === "{") return partner.get(i + 1);
  // An expression ends where what it stands in goes on.
  for (let k = i + 1; k < tokens.length; k++) {
    const { kind, text } = tokens[k];
    if (kind === "literal") continue;
    if (OPENING.has(text)) k = partner.get(k) ?? tokens.length;
    else if (CLOSING.has(text) || text === "," || text === ";") return k - 1;
    // `Record<string, () => T> = …`: it was a type.
    if (text === "=" && tokens[k - 1].text === ">" && tokens[k - 1].at + 1 < tokens[k].at) return k;
  }
  return undefined;
}

/** The token that closes the type parameters which token `i` opens. */
function closingAngle(tokens: readonly Token[], i: number): number {
  for (let depth = 0; i < tokens.length; i++) {
    if (tokens[i].text === "<") depth++;
    if (tokens[i].text === ">" && --depth === 0) return i;
  }
  return i;
}

/** A function that tells the line, from 1, of an index into `code`. */
function lineCounter(code: string): (at: number) => number {
  const ends = [...code.matchAll(/\n/g)].map(({ index }) => index);
  return (at) => {
    let low = 0, high = ends.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ends[middle] < at) low = middle + 1;
      else high = middle;
    }
    return low + 1;
  };
}

/**
 * The lines of `code`, from 1, that are longer than `columns`. What cannot be broken does not
 * count: literals, addresses, imports.
 */
export function longLines(code: string, columns: number): number[] {
  // Literals shrink to nothing, but the lines that they run over remain.
  let short = "", done = 0;
  for (const { kind, text, at } of tokensOf(code)) {
    if (kind !== "literal") continue;
    short += code.slice(done, at) + text.replace(/[^\n]/g, "");
    done = at + text.length;
  }
  const lines = (short + code.slice(done)).split("\n");
  return lines.flatMap((line, i) =>
    [...line].length > columns && !UNBREAKABLE.test(line) ? [i + 1] : []
  );
}
