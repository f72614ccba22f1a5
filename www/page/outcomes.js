/**
 * Outcomes out of a csv or jsonl file: a prompt, a model, whether its answer was right, and optionally its
 * output tokens. A row that cannot be used is told with its row, its column and the reason.
 */
import { ACCEPTED, FileError, inspect, recordsOf } from "./plan/read.js";

/** Larger files are refused before they are read. */
const MOST_BYTES = 50e6;
const ACCEPTED_HERE = "Accepted are csv with a header, and jsonl, as they are or gzipped.";

const RIGHT = new Map(Object.entries({ true: 1, right: 1, correct: 1, yes: 1, false: 0, wrong: 0, incorrect: 0, no: 0 }));

/**
 * @typedef {import("./plan/read.js").BadRow} BadRow
 */

/**
 * @param {File} file
 * @param {Set<string>} models ids of the catalog
 * @returns {Promise<{ outcomes: import("pennyroute").GradedOutcome[], bad: BadRow[] }>}
 */
export async function readOutcomes(file, models) {
  if (file.size > MOST_BYTES) {
    throw new FileError("too_large", `${file.name} has ${(file.size / 1e6).toFixed(0)} MB; up to ${MOST_BYTES / 1e6} MB of outcomes are read. Split it.`);
  }
  /** @type {import("pennyroute").GradedOutcome[]} */
  const outcomes = [];
  /** @type {BadRow[]} */
  const bad = [];
  for await (const records of recordsOf(file, await formatOf(file))) {
    for (const { row, get, valid, problem } of records) {
      const read = problem ? { problem } : outcome(get, valid, models);
      if (read.problem) bad.push({ row, ...read.problem });
      else outcomes.push(read.outcome);
    }
  }
  if (outcomes.length === 0) {
    const [first] = bad;
    throw new FileError("no_outcomes", `${file.name} has no outcome that can be read.${first ? ` Row ${first.row}, ${first.column || "the whole row"}: ${first.reason}.` : ""}`);
  }
  return { outcomes, bad };
}

/** Csv with the columns that are needed, or jsonl. @param {File} file */
async function formatOf(file) {
  const { format, columns } = await inspect(file).catch((error) => {
    throw new FileError(error.code, error.message.replace(ACCEPTED, ACCEPTED_HERE));
  });
  if (format === "jsonl") return format;
  for (const [what, names] of [["a prompt", ["prompt", "text"]], ["a model", ["model"]], ["whether it was right", ["correct"]]]) {
    if (columns.some(({ name }) => names.includes(name))) continue;
    throw new FileError("bad_file", `${file.name} has no column with ${what} (${names.map((each) => `\`${each}\``).join(" or ")}) in its header. ${ACCEPTED_HERE}`);
  }
  return "csv";
}

/**
 * @param {(column: string) => any} get
 * @param {boolean} valid there is nothing near it that is not in the text's encoding
 * @param {Set<string>} models
 */
function outcome(get, valid, models) {
  const wrong = (column, reason) => ({ problem: { column, reason } });
  const messages = given(get("messages"));
  const column = given(get("prompt")) === undefined && given(get("text")) !== undefined ? "text" : "prompt";
  const prompt = get(column);
  if (messages !== undefined) {
    const problem = messagesProblem(messages);
    if (problem) return wrong("messages", problem);
  } else {
    if (given(prompt) === undefined) return wrong(column, "is missing");
    if (typeof prompt !== "string") return wrong(column, "is no text");
    if (!valid && prompt.includes("\ufffd")) return wrong(column, "is not valid UTF-8");
  }
  const model = get("model");
  if (typeof model !== "string" || !model) return wrong("model", "is missing");
  if (!models.has(model)) return wrong("model", `the catalog has no \`${model}\``);
  const correct = grade(get("correct"));
  if (correct === undefined) return wrong("correct", `\`${String(get("correct") ?? "")}\` is not true, false or a grade from 0 to 1`);
  const tokens = given(get("output_tokens"));
  if (tokens !== undefined && !(Number(tokens) >= 0 && Number.isFinite(Number(tokens)))) return wrong("output_tokens", `\`${tokens}\` is no number of tokens`);
  const at = given(get("at"));
  if (at !== undefined && !(typeof at === "string" && Number.isFinite(Date.parse(at)))) return wrong("at", `\`${at}\` is no time such as 2026-11-20T12:00:00Z`);
  return {
    outcome: {
      ...(messages === undefined ? { prompt } : { messages }), model, correct,
      ...(tokens === undefined ? {} : { output_tokens: Number(tokens) }),
      ...(at === undefined ? {} : { at }),
    },
  };
}

/** A value, or undefined where a cell is empty. */
const given = (value) => (value === null || (typeof value === "string" && !value.trim()) ? undefined : value);

/** What is wrong with a list of messages, if anything is. @param {unknown} messages */
function messagesProblem(messages) {
  if (!Array.isArray(messages)) return "must be a list of messages";
  if (messages.length === 0) return "is an empty list";
  const fault = (message) => {
    if (message === null || typeof message !== "object") return "is no object";
    if (typeof message.role !== "string") return "has no role";
    const { content = null } = message;
    return content === null || typeof content === "string" || Array.isArray(content) ? undefined : "has content that is neither text nor a list of parts";
  };
  const at = messages.findIndex(fault);
  return at === -1 ? undefined : `message ${at + 1} ${fault(messages[at])}`;
}

/** @param {unknown} value a grade, 0 to 1; undefined for anything else */
function grade(value) {
  if (typeof value === "boolean") return Number(value);
  const text = String(value ?? "").trim().toLowerCase();
  const number = RIGHT.get(text) ?? (text === "" ? NaN : Number(text));
  return number >= 0 && number <= 1 ? number : undefined;
}
