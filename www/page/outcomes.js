/**
 * Outcomes out of a csv or jsonl file: a prompt, a model, whether its answer was right, and optionally its
 * output tokens. A row that cannot be used is told with its row, its column and the reason.
 *
 * @typedef {{ row: number, column: string, reason: string }} BadRow
 */
import Papa from "papaparse";

/** Larger files are refused before they are read. */
const MOST_BYTES = 50e6;

const RIGHT = new Map(Object.entries({ true: 1, right: 1, correct: 1, yes: 1, false: 0, wrong: 0, incorrect: 0, no: 0 }));

/**
 * @param {File} file
 * @param {Set<string>} models ids of the catalog
 * @returns {Promise<{ outcomes: import("pennyroute").GradedOutcome[], bad: BadRow[] }>}
 */
export async function readOutcomes(file, models) {
  if (file.size > MOST_BYTES) {
    throw fileError("too_large", `${file.name} has ${(file.size / 1e6).toFixed(0)} MB; up to ${MOST_BYTES / 1e6} MB of outcomes are read. Split it.`);
  }
  const text = (await file.text()).replace(/^\ufeff/, "");
  if (text.includes("\0")) throw fileError("unsupported_type", `${file.name} is no text. Accepted are csv with a header, and jsonl.`);
  const rows = /^\s*\{/.test(text) ? jsonRows(text) : csvRows(text, file.name);

  /** @type {import("pennyroute").GradedOutcome[]} */
  const outcomes = [];
  /** @type {BadRow[]} */
  const bad = [];
  for (const { row, fields, problem } of rows) {
    const read = problem ? { problem } : outcome(fields, models);
    if (read.problem) bad.push({ row, ...read.problem });
    else outcomes.push(read.outcome);
  }
  if (outcomes.length === 0) {
    const [first] = bad;
    throw fileError("no_outcomes", `${file.name} has no outcome that can be read.${first ? ` Row ${first.row}, ${first.column || "the whole row"}: ${first.reason}.` : ""}`);
  }
  return { outcomes, bad };
}

/** @param {string} text */
function jsonRows(text) {
  return text.split("\n").flatMap((line, i) => {
    if (!line.trim()) return [];
    try {
      return [{ row: i + 1, fields: JSON.parse(line) ?? {} }];
    } catch {
      return [{ row: i + 1, problem: { column: "", reason: "is no JSON" } }];
    }
  });
}

/**
 * Rows are counted as a spreadsheet does: the header is row 1.
 * @param {string} text
 * @param {string} name
 */
function csvRows(text, name) {
  const { data, errors, meta } = Papa.parse(text, { header: true, skipEmptyLines: "greedy", transformHeader: (header) => header.trim() });
  for (const [what, names] of [["a prompt", ["prompt", "text"]], ["a model", ["model"]], ["whether it was right", ["correct"]]]) {
    if (names.some((each) => meta.fields?.includes(each))) continue;
    throw fileError("bad_file", `${name} has no column with ${what} (${names.map((each) => `\`${each}\``).join(" or ")}) in its header. Accepted are csv with a header, and jsonl.`);
  }
  const problems = new Map(errors.filter(({ row }) => row !== undefined).map(({ row, message }) => [row, { column: "", reason: message.toLowerCase() }]));
  return data.map((fields, i) => ({ row: i + 2, fields, problem: problems.get(i) }));
}

/**
 * @param {Record<string, any>} fields
 * @param {Set<string>} models
 */
function outcome(fields, models) {
  const wrong = (column, reason) => ({ problem: { column, reason } });
  const { messages, model } = fields;
  const prompt = fields.prompt ?? fields.text;
  if (!Array.isArray(messages) && (typeof prompt !== "string" || !prompt.trim())) return wrong("prompt", "is missing");
  if (typeof model !== "string" || !model) return wrong("model", "is missing");
  if (!models.has(model)) return wrong("model", `the catalog has no \`${model}\``);
  const correct = grade(fields.correct);
  if (correct === undefined) return wrong("correct", `\`${String(fields.correct ?? "")}\` is not true, false or a grade from 0 to 1`);
  const tokens = fields.output_tokens;
  const counted = tokens !== undefined && tokens !== null && tokens !== "";
  if (counted && !(Number(tokens) >= 0 && Number.isFinite(Number(tokens)))) return wrong("output_tokens", `\`${tokens}\` is no number of tokens`);
  return {
    outcome: {
      ...(Array.isArray(messages) ? { messages } : { prompt }), model, correct,
      ...(counted ? { output_tokens: Number(tokens) } : {}),
      ...(typeof fields.at === "string" ? { at: fields.at } : {}),
    },
  };
}

/** @param {unknown} value a grade, 0 to 1; undefined for anything else */
function grade(value) {
  if (typeof value === "boolean") return Number(value);
  const text = String(value ?? "").trim().toLowerCase();
  const number = RIGHT.get(text) ?? (text === "" ? NaN : Number(text));
  return number >= 0 && number <= 1 ? number : undefined;
}

/**
 * @param {string} code
 * @param {string} message
 */
function fileError(code, message) {
  return Object.assign(new Error(message), { code });
}
