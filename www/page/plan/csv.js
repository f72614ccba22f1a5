/**
 * Delimited rows out of text that arrives in pieces. A broken row costs no more than its own line: where
 * a quote is not closed, the cell would swallow what follows up to the next quote, so reading goes on
 * with the next line of the file instead.
 */
import Papa from "papaparse";

/** A row that has not ended after so many characters is taken for one with an open quote. */
const MAX_ROW = 1 << 20;

/** @typedef {{ fields: string[], problem?: { column: number, reason: string } }} CsvRow `column`: -1 where it is the whole row */

/**
 * How a text is delimited, by its beginning.
 * @param {string} head
 */
export function dialect(head) {
  const { meta, data } = Papa.parse(head, { preview: 10 });
  return { delimiter: meta.delimiter, newline: meta.linebreak, rows: /** @type {string[][]} */ (data) };
}

/**
 * @param {{ delimiter: string, newline: string }} dialect
 */
export function csvReader({ delimiter, newline }) {
  let rest = "";
  /** Cells of the first row, which has to be in order. */
  let width = 0;

  /**
   * The rows that are complete with this text, all of them with the `last`.
   * @param {string} text
   * @param {boolean} last
   * @returns {Generator<CsvRow>}
   */
  return function* push(text, last) {
    rest += text;
    while (rest) {
      /** @type {CsvRow[]} */
      const rows = [];
      let end = 0;
      let resumed = false;
      const parser = new Papa.Parser({
        delimiter,
        newline,
        step({ data: [fields], errors, meta }) {
          const line = rest.indexOf(newline, end) + newline.length;
          width ||= fields.length;
          const problem = fault(fields, errors, width);
          rows.push({ fields, problem });
          resumed = problem !== undefined && line >= newline.length && line < meta.cursor;
          end = resumed ? line : meta.cursor;
          if (resumed) parser.abort();
        },
      });
      parser.parse(rest, 0, !last);
      rest = rest.slice(end);
      yield* rows;
      if (resumed) continue;
      if (last || rest.length <= MAX_ROW) break;
      const line = rest.indexOf(newline);
      if (line === -1) throw Object.assign(new Error(`a line is longer than ${MAX_ROW.toLocaleString("en-US")} characters`), { code: "bad_file" });
      rest = rest.slice(line + newline.length);
      yield { fields: [], problem: { column: -1, reason: "a quote is not closed" } };
    }
    if (last) rest = "";
  };
}

/**
 * What is wrong with a row, if anything is.
 * @param {string[]} fields
 * @param {{ code: string }[]} errors
 * @param {number} width
 */
function fault(fields, errors, width) {
  if (errors.some(({ code }) => code === "MissingQuotes")) {
    return { column: Math.min(fields.length, width) - 1, reason: "the quote that opens the cell is not closed" };
  }
  if (errors.length > 0) {
    return { column: fields.findIndex((field) => field.includes('"')), reason: "a quote inside the quoted cell is not doubled" };
  }
  if (fields.length !== width && !isBlank(fields)) {
    return { column: -1, reason: `${fields.length} ${fields.length === 1 ? "cell" : "cells"} where the header has ${width}` };
  }
  return undefined;
}

/** @param {string[]} fields */
export const isBlank = (fields) => fields.length === 1 && fields[0].trim() === "";

/**
 * The rows as csv that a spreadsheet opens safely: a cell that it would take for a formula is marked as text
 * by a leading apostrophe.
 * @param {string[]} fields the header
 * @param {unknown[][]} data
 */
export const toCsv = (fields, data) => `${Papa.unparse({ fields, data }, { escapeFormulae: true })}\r\n`;
