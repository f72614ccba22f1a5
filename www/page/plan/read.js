/**
 * A file of prompts, read in pieces: what it is, which columns it has, and its rows. A row that cannot be
 * used is told with its number, its column and the reason; the others are kept.
 *
 * Formats: jsonl (an object per line), csv or tsv with a header, and plain text (a prompt per line); each
 * also gzipped.
 */
import { csvReader, dialect, isBlank } from "./csv.js";

/** `bytes` also counts what a gzip file unpacks to. */
export const LIMITS = { bytes: 200e6, prompts: 100_000, bad: 10_000 };
export const ACCEPTED = "Accepted are jsonl, csv, tsv and plain text with a prompt per line, as they are or gzipped, up to 200 MB and 100,000 prompts.";

/** Names of the column with the prompt, the likeliest first. */
const PROMPT_NAMES = ["text", "prompt", "messages", "question", "query", "message", "input", "content", "instruction"];
const ID_NAMES = ["query_id", "id"];
const GROUP_NAMES = ["group"];
/** Fields of a jsonl object, beside its prompt, that a route request reads. */
const REQUEST_FIELDS = ["tools", "response_format", "max_tokens", "max_completion_tokens", "private"];
/** This much of a file is looked at to tell its format and columns. */
const HEAD = 256 * 1024;
/** What a jsonl object may have in place of text. */
const MESSAGES = "messages";
/** Plain text has one column. */
const LINES_COLUMN = "prompt";

/** What other files begin with. */
const SIGNATURES = [
  ["%PDF", "a PDF document"],
  ["PK\x03\x04", "a zip archive, which Excel workbooks are too: save the sheet as csv"],
  ["\xd0\xcf\x11\xe0", "an Office document: save the sheet as csv"],
  ["PAR1", "a Parquet file: save it as csv or jsonl"],
  ["\x89PNG", "a PNG image"],
  ["\xff\xd8\xff", "a JPEG image"],
  ["GIF8", "a GIF image"],
  ["RIFF", "an image, sound or video"],
  ["SQLite format 3", "an SQLite database"],
  ["BZh", "a bzip2 archive"],
  ["\xfd7zXZ", "an xz archive"],
  ["\x28\xb5\x2f\xfd", "a zstd archive"],
];

/**
 * @typedef {"jsonl" | "csv" | "lines"} Format
 * @typedef {{ prompt: string, id: string, group: string }} Columns names; an empty one: there is none
 * @typedef {{ row: number, id: string, group: string, request: import("pennyroute").RouteRequest }} Row
 * @typedef {{ row: number, column: string, reason: string }} BadRow
 * @typedef {{ row: number, get: (column: string) => unknown, problem?: { column: string, reason: string }, valid?: boolean }} Record
 *   `valid`: there is nothing near it that is not in the text's encoding
 */

/** A file that cannot be used; `code` is stable: unsupported_type, too_large, bad_file, empty_file. */
export class FileError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/**
 * What a file is, its columns with the first values of each, and which of them are likely meant.
 * @param {File} file
 * @param {Format} [format] where it is known better
 */
export async function inspect(file, format) {
  let head = "";
  for await (const { text } of texts(file)) {
    head += text;
    if (head.length >= HEAD) break;
  }
  if (head.trim() === "") throw new FileError("empty_file", `${file.name} is empty.`);
  format ??= detect(file.name, head);
  const { columns, rows } = preview(head, format, file.name);
  return {
    name: file.name,
    size: file.size,
    format,
    columns: columns.map((name, i) => ({ name, values: rows.slice(0, 3).map((row) => clip(row[i])) })),
    guess: {
      prompt: named(columns, PROMPT_NAMES) ?? longest(columns, rows),
      id: named(columns, ID_NAMES) ?? "",
      group: named(columns, GROUP_NAMES) ?? "",
    },
  };
}

/**
 * All rows of a file.
 * @param {File} file
 * @param {{ format: Format, columns: Columns }} as
 * @param {{ progress: (progress: { read: number, size: number, rows: number }) => void, pause: () => Promise<void> }} context
 * @returns {Promise<{ rows: Row[], bad: BadRow[] }>}
 */
export async function readRows(file, { format, columns }, { progress, pause }) {
  /** @type {Row[]} */
  const rows = [];
  /** @type {BadRow[]} */
  const bad = [];
  /** Row by id. @type {Map<string, number>} */
  const seen = new Map();
  let read = 0;

  for await (const records of recordsOf(file, format, (bytes) => (read = bytes))) {
    for (const record of records) {
      const problem = record.problem ?? take(record);
      if (problem) bad.push({ row: record.row, ...problem });
      if (bad.length > LIMITS.bad) {
        throw new FileError("bad_file", `More than ${LIMITS.bad.toLocaleString("en-US")} rows of ${file.name} cannot be read; the first, row ${bad[0].row}: ${bad[0].reason}. Is it ${format === "lines" ? "plain text" : format}, and are the columns right?`);
      }
    }
    progress({ read, size: file.size, rows: rows.length });
    await pause();
  }
  if (rows.length === 0) {
    const why = bad.length > 0 ? ` The first of ${bad.length.toLocaleString("en-US")} bad rows, row ${bad[0].row}: ${[bad[0].column, bad[0].reason].filter(Boolean).join(" ")}.` : "";
    throw new FileError("empty_file", `${file.name} has no prompt that can be read.${why}`);
  }
  return { rows, bad };

  /** Keeps a record, or says what is wrong with it. */
  function take({ row, get, valid }) {
    const prompt = get(columns.prompt) ?? get(MESSAGES);
    const problem = promptProblem(prompt, valid);
    if (problem) return { column: columns.prompt, reason: problem };
    const id = columns.id ? label(get(columns.id)) : String(row);
    if (!id) return { column: columns.id, reason: "is empty" };
    const before = seen.get(id);
    if (before !== undefined) return { column: columns.id, reason: `is the same as in row ${before}` };
    if (rows.length === LIMITS.prompts) {
      throw new FileError("too_large", `${file.name} has more than ${LIMITS.prompts.toLocaleString("en-US")} prompts, the most that is planned at once. Split it, or plan a sample.`);
    }
    seen.set(id, row);
    rows.push({ row, id, group: columns.group ? label(get(columns.group)) : "", request: toRequest(get, prompt) });
    return undefined;
  }
}

/**
 * @param {unknown} value
 * @param {boolean} valid
 */
function promptProblem(value, valid) {
  if (value === undefined || value === null) return "is missing";
  if (typeof value === "string") {
    if (value.trim() === "") return "is empty";
    // The decoder's sign for bytes that it cannot read; in a text that is in order it is a character like others.
    return !valid && value.includes("\ufffd") ? "is not valid UTF-8" : undefined;
  }
  if (Array.isArray(value)) return value.length === 0 ? "is an empty list" : undefined;
  return `must be text or a list of messages, not ${typeof value === "object" ? "an object" : `a ${typeof value}`}`;
}

/**
 * @param {(column: string) => unknown} get
 * @param {string | any[]} prompt text or messages
 */
function toRequest(get, prompt) {
  // In csv all is text, and such a column means something else.
  const fields = REQUEST_FIELDS.map((name) => [name, get(name)]).filter(([, value]) => typeof value !== "string" && value !== undefined && value !== null);
  return { ...Object.fromEntries(fields), ...(Array.isArray(prompt) ? { messages: prompt } : { prompt }) };
}

/** @param {unknown} value */
const label = (value) => (value === undefined || value === null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value).trim());

/**
 * The records of a file, a piece of it at a time.
 * @param {File} file
 * @param {Format} format
 * @param {(bytes: number) => void} [onBytes] how many of the file's bytes are read
 * @returns {AsyncGenerator<Iterable<Record>>}
 */
export async function* recordsOf(file, format, onBytes) {
  const parse = format === "csv" ? csvRecords(file.name) : lineRecords(format);
  const pieces = texts(file, onBytes);
  let records = 0;
  // A row may begin in one piece and end in the next.
  let [valid, before] = [true, true];
  try {
    for await (const piece of pieces) {
      [valid, before] = [piece.valid && before, piece.valid];
      yield counted(parse(piece.text, false));
    }
  } catch (error) {
    // A damaged end: what was read before it is good.
    if (!(error instanceof FileError) || error.code !== "bad_file" || records === 0) throw error;
    return yield [{ row: records + 1, get: () => undefined, problem: { column: "", reason: error.message } }];
  }
  yield counted(parse("", true));

  function* counted(iterable) {
    for (const record of iterable) {
      records = record.row;
      yield { ...record, valid };
    }
  }
}

/**
 * Rows are counted as a spreadsheet does: the header is row 1.
 * @param {string} name
 */
function csvRecords(name) {
  /** @type {ReturnType<typeof csvReader> | undefined} */
  let push;
  /** @type {string[] | undefined} */
  let columns;
  let row = 0;
  return function* parse(text, last) {
    if (!push) {
      if (!text) return;
      push = csvReader(delimiters(text, name));
    }
    for (const { fields, problem } of push(text, last)) {
      row++;
      if (isBlank(fields)) continue;
      if (!columns) {
        columns = header(fields);
        continue;
      }
      const at = columns;
      yield {
        row,
        get: (column) => (at.includes(column) ? fields[at.indexOf(column)] : undefined),
        problem: problem && { column: at[problem.column] ?? "", reason: problem.reason },
      };
    }
  };
}

/** @param {Format} format */
function lineRecords(format) {
  let rest = "";
  let row = 0;
  return function* parse(text, last) {
    const lines = (rest + text).split("\n");
    rest = last ? "" : lines.pop() ?? "";
    for (const line of lines) {
      row++;
      if (line.trim() === "") continue;
      if (format === "lines") yield { row, get: (column) => (column === LINES_COLUMN ? line.trim() : undefined) };
      else yield { row, ...jsonRecord(line) };
    }
  };
}

/** @param {string} line */
function jsonRecord(line) {
  let value;
  try {
    value = JSON.parse(line);
  } catch (error) {
    const [, where] = /(?:position|column) (\d+)/.exec(error.message) ?? [];
    return { get: () => undefined, problem: { column: "", reason: `is no JSON${where ? `, at character ${where}` : ""}` } };
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    return { get: () => undefined, problem: { column: "", reason: "is no JSON object" } };
  }
  return { get: (column) => (Object.hasOwn(value, column) ? value[column] : undefined) };
}

/**
 * The text of a file in pieces, and whether each is all in its encoding; refuses what is no text, and what is
 * too large before it is read.
 * @param {File} file
 * @param {(bytes: number) => void} [onBytes] how many of the file's bytes are read
 * @returns {AsyncGenerator<{ text: string, valid: boolean }>}
 */
async function* texts(file, onBytes = () => {}) {
  if (file.size > LIMITS.bytes) {
    throw new FileError("too_large", `${file.name} has ${megabytes(file.size)} MB; up to ${megabytes(LIMITS.bytes)} MB are read. Split it, or plan a sample.`);
  }
  const start = await begin(file);
  const packed = start.startsWith("\x1f\x8b");
  let stream = file.stream();
  if (packed) {
    let read = 0;
    stream = stream.pipeThrough(new TransformStream({
      transform(chunk, controller) {
        onBytes((read += chunk.length));
        controller.enqueue(chunk);
      },
    })).pipeThrough(new DecompressionStream("gzip"));
  }
  /** @type {ReturnType<typeof decoder> | undefined} */
  let decode;
  let size = 0;
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error) => {
        throw new FileError("bad_file", packed ? "the gzip data is damaged or ends early" : `cannot be read any more: ${error.message}`);
      });
      if (done) break;
      size += value.length;
      if (!packed) onBytes(size);
      if (size > LIMITS.bytes) throw new FileError("too_large", `${file.name} unpacks to more than ${megabytes(LIMITS.bytes)} MB, the most that is read. Split it, or plan a sample.`);
      decode ??= decoder(encoding(value, file.name));
      yield decode(value);
    }
  } finally {
    // Whoever stops early wants no more of it.
    reader.cancel().catch(() => {});
  }
}

/** Decodes a text piece by piece. @param {string} encoding */
function decoder(encoding) {
  const lenient = new TextDecoder(encoding);
  let strict = new TextDecoder(encoding, { fatal: true });
  return (bytes) => {
    const text = lenient.decode(bytes, { stream: true });
    try {
      strict.decode(bytes, { stream: true });
      return { text, valid: true };
    } catch {
      strict = new TextDecoder(encoding, { fatal: true });
      return { text, valid: false };
    }
  };
}

/** The first bytes of a file, one character each. @param {Blob} file */
async function begin(file) {
  return String.fromCharCode(...new Uint8Array(await file.slice(0, 16).arrayBuffer()));
}

/**
 * The encoding of a text by its first bytes; what is no text is refused.
 * @param {Uint8Array} bytes
 * @param {string} name
 */
function encoding(bytes, name) {
  const start = String.fromCharCode(...bytes.subarray(0, 16));
  const known = SIGNATURES.find(([signature]) => start.startsWith(signature));
  if (known) throw new FileError("unsupported_type", `${name} is ${known[1]}. ${ACCEPTED}`);
  if (start.startsWith("\xff\xfe")) return "utf-16le";
  if (start.startsWith("\xfe\xff")) return "utf-16be";
  if (bytes.subarray(0, 4096).includes(0)) throw new FileError("unsupported_type", `${name} is a binary file. ${ACCEPTED}`);
  return "utf-8";
}

/**
 * @param {string} name
 * @param {string} head
 * @returns {Format}
 */
function detect(name, head) {
  if (/^\s*\{/.test(head)) return "jsonl";
  if (/^\s*\[\s*[{"\]]/.test(head)) throw new FileError("unsupported_type", `${name} is one JSON array: write each of its objects on a line of its own (jsonl). ${ACCEPTED}`);
  if (/\.(csv|tsv|tab)(\.gz)?$/i.test(name)) return "csv";
  const [first = []] = dialect(head).rows;
  return named(header(first), PROMPT_NAMES) === undefined ? "lines" : "csv";
}

/**
 * @param {string} head
 * @param {string} name
 */
function delimiters(head, name) {
  const { delimiter, newline } = dialect(head);
  return { delimiter: /\.(tsv|tab)(\.gz)?$/i.test(name) ? "\t" : delimiter, newline };
}

/** @param {string[]} fields */
const header = (fields) => fields.map((name, i) => name.trim() || `column ${i + 1}`);

/**
 * Columns and first rows of a text's beginning.
 * @param {string} head
 * @param {Format} format
 * @param {string} name
 * @returns {{ columns: string[], rows: unknown[][] }}
 */
function preview(head, format, name) {
  // The last line may be cut off; a line that is the only one is not.
  const cut = head.length >= HEAD ? head.slice(0, head.lastIndexOf("\n") + 1) || head : head;
  if (format === "lines") return { columns: [LINES_COLUMN], rows: cut.split("\n").filter((line) => line.trim()).slice(0, 50).map((line) => [line.trim()]) };
  if (format === "csv") {
    const [first = { fields: [] }, ...rows] = [...csvReader(delimiters(cut, name))(cut, true)].filter(({ fields, problem }) => !problem && !isBlank(fields));
    return { columns: header(first.fields), rows: rows.slice(0, 50).map(({ fields }) => fields) };
  }
  const objects = cut.split("\n").slice(0, 200).flatMap((line) => {
    try {
      const value = JSON.parse(line);
      return value !== null && typeof value === "object" && !Array.isArray(value) ? [value] : [];
    } catch {
      return [];
    }
  }).slice(0, 50);
  if (objects.length === 0) throw new FileError("bad_file", `${name} begins like jsonl, but none of its first lines is a JSON object. ${ACCEPTED}`);
  const columns = [...new Set(objects.flatMap(Object.keys))];
  return { columns, rows: objects.map((object) => columns.map((column) => object[column])) };
}

/** The first of some names among columns, in their own spelling. */
function named(columns, names) {
  return names.map((name) => columns.find((column) => column.toLowerCase() === name)).find(Boolean);
}

/** The column with the longest texts. */
function longest(columns, rows) {
  const length = columns.map((_, i) => rows.reduce((sum, row) => sum + (typeof row[i] === "string" ? row[i].length : 0), 0));
  return columns[length.indexOf(Math.max(...length))] ?? "";
}

/** A value as the preview shows it. @param {unknown} value */
function clip(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value) ?? "";
  return text.length > 90 ? `${text.slice(0, 89)}…` : text;
}

const megabytes = (bytes) => (bytes / 1e6).toLocaleString("en-US", { maximumFractionDigits: 0 });
