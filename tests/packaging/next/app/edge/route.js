import { decisions } from "../../../program.js";

export const runtime = "edge";

export async function GET() {
  return Response.json(await decisions());
}
