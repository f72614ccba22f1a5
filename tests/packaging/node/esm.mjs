import { decisions } from "../threaded.js";

console.log(JSON.stringify(await decisions()));
