import { decisions } from "../program.js";

export const config = { matcher: "/middleware" };

export async function middleware() {
  return Response.json(await decisions());
}
