import { decisions } from "../program.js";

export const config = { matcher: "/proxy" };

export async function proxy() {
  return Response.json(await decisions());
}
