// Looks at a page with a real browser. Reads JSON from standard input, writes a report as JSON.
// {url, chromium, axe, looks: [{width, dark, js, picture, then}]}; `then` is a file that the caller removes when the
// page should have changed, and `wanted` the text that must have appeared.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const asked = JSON.parse(readFileSync(0, "utf8"));
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await chromium.launch({
  executablePath: asked.chromium,
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});
const reports = [];
for (const look of asked.looks) {
  const context = await browser.newContext({
    viewport: { width: look.width, height: look.height ?? 900 },
    colorScheme: look.dark ? "dark" : "light",
    javaScriptEnabled: look.js ?? true,
    deviceScaleFactor: look.scale ?? 1,
    reducedMotion: "reduce",
  });
  const page = await context.newPage();
  const report = { console: [], csp: [], hosts: [], axe: [] };
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && report.console.push(message.text()));
  page.on("pageerror", (error) => report.console.push(String(error)));
  page.on("request", (request) => report.hosts.push(new URL(request.url()).host));
  if (look.js ?? true) {
    await page.exposeFunction("__violated", (text) => report.csp.push(text));
    await page.addInitScript(() =>
      document.addEventListener("securitypolicyviolation", (event) => window.__violated(event.violatedDirective)),
    );
  }
  await page.goto(asked.url, { waitUntil: "load" });
  if (look.open) for (const one of await page.locator("details > summary").all()) await one.click();
  if (look.live) await page.getByText("Live.").waitFor({ timeout: 15000 });
  if (look.wanted) {
    process.stderr.write("ready\n");
    await page.getByText(look.wanted).first().waitFor({ state: "attached", timeout: 20000 });
  }
  report.text = await page.locator("body").innerText();
  report.panels = await page.locator("main [id], header[id]").evaluateAll((all) =>
    all.filter((one) => one.matches("section, header")).map((one) => one.id));
  report.sideways = await page.locator("main [tabindex]").evaluateAll((all) =>
    all.filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.innerText.slice(0, 40)));
  report.open = await page.locator("details[open]").count();
  report.wider = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth).catch(() => 0);
  if (look.axe) {
    // Through the debugger: the page's own policy lets no other script in.
    await page.evaluate(axe);
    const found = await page.evaluate(() => window.axe.run());
    report.axe = found.violations.map((one) => ({
      id: one.id, help: one.help, nodes: one.nodes.map((node) => `${node.html.slice(0, 200)} ${node.failureSummary}`),
    }));
  }
  if (look.picture) await page.screenshot({ path: look.picture, fullPage: look.full ?? true });
  reports.push(report);
  await context.close();
}
await browser.close();
process.stdout.write(JSON.stringify(reports));
