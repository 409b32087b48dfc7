// Builds dist/ from src/: the same bytes each time. scripts/page calls it.
import { build } from "esbuild";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync, existsSync } from "node:fs";
import { join } from "node:path";

rmSync("dist", { recursive: true, force: true });
mkdirSync("dist");
const result = await build({
  entryPoints: { app: "src/main.tsx" },
  outdir: "dist",
  bundle: true,
  minify: true,
  target: "es2022",
  format: "esm",
  jsx: "automatic",
  charset: "utf8",
  legalComments: "none",
  metafile: true,
  define: { "process.env.NODE_ENV": '"production"' },
});
writeFileSync("dist/index.html", readFileSync("src/index.html"));

// The licences of everything that is in the bundle.
const packages = new Set();
for (const file of Object.keys(result.metafile.inputs)) {
  const m = file.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//);
  if (m) packages.add(m[1]);
}
let notices = "The page of the local workspace contains these packages:\n";
for (const name of [...packages].sort()) {
  const dir = join("node_modules", name);
  const about = JSON.parse(readFileSync(join(dir, "package.json"), "utf8"));
  const file = readdirSync(dir).sort().find((f) => /^licen[cs]e/i.test(f));
  notices += `\n${"-".repeat(72)}\n${name} ${about.version} (${about.license ?? "licence in its repository"})\n`;
  if (file && existsSync(join(dir, file))) notices += "\n" + readFileSync(join(dir, file), "utf8").replace(/\r\n/g, "\n").trim() + "\n";
}
writeFileSync("dist/THIRD-PARTY-NOTICES.txt", notices);
