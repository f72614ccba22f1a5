import { buildWww } from "../../src/js/tools/www.mjs";
import { accessibilityViolations, findChromium, launch, resultFile, serve } from "./browser.mjs";
const out = await buildWww({ out: "/tmp/wt/plan-www" });
const site = await serve(out); const browser = await launch(findChromium());
for (const [name, o] of [["light",{viewport:{width:1280,height:900}}],["dark",{viewport:{width:1280,height:900},colorScheme:"dark"}],["phone",{viewport:{width:390,height:844},deviceScaleFactor:2,isMobile:true,hasTouch:true}]]) {
  const page = await (await browser.newContext(o)).newPage();
  page.on("console",m=>console.log(m.type(),m.text())); page.on("pageerror",e=>console.log("ERR",e.stack));
  await page.goto(site.url+"/#plan");
  await page.getByRole("button",{name:"Try the sample"}).waitFor();
  await page.screenshot({path:resultFile(`plan-empty-${name}.png`),fullPage:true});
  await page.getByRole("button",{name:"Try the sample"}).click();
  await page.locator("#plan .plot-svg .here").waitFor({timeout:60000});
  await page.waitForTimeout(1200);
  await page.screenshot({path:resultFile(`plan-${name}.png`),fullPage:true});
  console.log(await accessibilityViolations(page));
  console.log(await page.evaluate(()=>[document.documentElement.scrollWidth,innerWidth]));
}
await browser.close(); await site.close();
