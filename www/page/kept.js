/** What this browser keeps for the page, in words, with the buttons that save and erase it. */
import { byId, h } from "./dom.js";
import { count } from "./format.js";
import { save } from "./save.js";

/** @param {import("../app.js").App} app */
export function keptLine(app) {
  const { state } = app;
  const [line, note] = [byId("kept"), byId("unkept")];
  const dialog = /** @type {HTMLDialogElement} */ (byId("erase"));

  function show() {
    const { changes = {}, policy, prompts } = state.settings;
    const kept = [
      policy && "your policy",
      numbered(Object.keys(changes).length, "change to the catalog", "changes to the catalog"),
      numbered(state.ratings.length, "rating with its prompt", "ratings with their prompts"),
      prompts && (numbered(prompts.length, "prompt tried", "prompts tried") || "your wish to keep the prompts you try"),
    ].filter(Boolean);
    line.textContent = state.unkept ? "" : kept.length > 0 ? `Kept in this browser: ${kept.join(", ")}.` : "Nothing of yours is kept in this browser.";
    byId("kept-save").hidden = kept.length === 0;
    note.hidden = state.unkept === "";
    note.textContent = `No more is kept: ${state.unkept}. All works, and what you change here lasts until the tab is closed.`;
  }

  for (const event of ["catalog", "settings", "kept"]) app.addEventListener(event, show);
  state.addEventListener("unkept", show);
  byId("kept-save").onclick = () => save(new Blob([JSON.stringify(state.export(), null, 2)], { type: "application/json" }), "pennyroute-page.json");
  byId("kept-restore").onclick = () => byId("restore-file").click();
  byId("restore-file").onchange = restore;
  byId("kept-erase").onclick = () => dialog.showModal();
  dialog.onclose = async () => {
    if (dialog.returnValue !== "erase") return;
    dialog.returnValue = "";
    line.textContent = await app.erase().then(() => "Everything is erased.", (error) => `Not everything could be erased: ${error.message}`);
    byId("offline").textContent = "";
  };

  async function restore({ currentTarget: input }) {
    const [file] = input.files;
    const error = byId("restore-error");
    error.hidden = true;
    if (!file) return;
    try {
      await app.restore(file);
    } catch (thrown) {
      error.hidden = false;
      error.replaceChildren(h("code", { textContent: thrown.code ?? "bad_input" }), ` ${file.name} is not restored: ${thrown.message}`);
    }
    input.value = "";
  }
}

/** @param {number} size @param {string} one @param {string} many */
const numbered = (size, one, many) => (size === 0 ? "" : size === 1 ? `1 ${one}` : `${count(size)} ${many}`);
