import { decisions } from "../program.js";

globalThis.decided = decisions();
