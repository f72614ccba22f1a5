import { decisions } from "../program.js";

console.log(JSON.stringify(await decisions()));
