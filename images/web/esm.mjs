// Makes of each package one file that a browser can import, as esm.sh answers: `node esm.mjs STORE INTO`.
// A page that imports React and what needs it must get one React: what a package shares stays an import of its address.
import Module, { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [store, into] = process.argv.slice(2);
const require = createRequire(pathToFileURL(join(store, "package.json")));
const esbuild = require("esbuild");
const SHARED = new Set(["react", "react-dom", "preact", "vue", "three"]);
const SUBPATHS = {
  react: ["jsx-runtime"], "react-dom": ["client"], preact: ["hooks", "jsx-runtime"], htm: ["preact", "react"],
};
const NOT = /^(@fontsource|@tailwindcss|@babel|axe-core$|esbuild$|three-|bootstrap$)/;

// A package that is kept beside a newer one, as `react-dom-18` is, needs that version of others too.
const resolve = Module._resolveFilename;
Module._resolveFilename = (spec, parent, ...rest) => {
  const older = SHARED.has(spec) && /-(\d+)$/.exec(parent?.path.slice(store.length).split("/")[2] ?? "");
  return resolve(older ? `${spec}-${older[1]}` : spec, parent, ...rest);
};

// stub SPEC: a module that exports all that the package does. What CommonJS exports is known only when it ran.
async function stub(spec) {
  const all = `export * from "${spec}";`;
  const { metafile } = await bundle(all, { write: false, metafile: true });
  const [{ path }] = metafile.inputs["<stdin>"].imports;
  if (metafile.inputs[path].format !== "cjs") {
    const whole = `${all} export { default } from "${spec}";`;
    return bundle(whole, { write: false, logLevel: "silent" }).then(() => whole, () => all);
  }
  const keys = Object.keys(require(spec)).filter((key) => /^[\w$]+$/.test(key) && !["default", "__esModule"].includes(key));
  const picked = keys.map((key) => `whole_${key} as ${key}`).join(", ");
  const named = keys.map((key) => `const whole_${key} = whole["${key}"];`).join(" ");
  return `import whole from "${spec}"; export default whole; ${named} export { ${picked} };`;
}

function bundle(contents, more) {
  return esbuild.build({
    stdin: { contents, resolveDir: store },
    absWorkingDir: store, bundle: true, format: "esm", minify: true, target: "es2022", logLevel: "error",
    define: { "process.env.NODE_ENV": '"production"' },
    ...more,
  });
}

// `react-18` is React 18 under another name; what it needs is its own version too.
function shared(version) {
  return {
    name: "shared",
    setup(build) {
      build.onResolve({ filter: /^[a-z]/ }, ({ path, kind, importer }) => {
        if (kind === "entry-point" || importer === "" || importer.endsWith("<stdin>")) return undefined;
        return SHARED.has(path) ? { path: `https://esm.sh/${path}${version}`, namespace: "address" } : undefined;
      });
      build.onResolve({ filter: /^https:/, namespace: "address" }, ({ path }) => ({ path, external: true }));
      build.onLoad({ filter: /.*/, namespace: "address" }, ({ path }) => ({
        contents: `export * from "${path}"; export { default } from "${path}";`,
      }));
    },
  };
}

const { dependencies } = JSON.parse(readFileSync(join(store, "package.json"), "utf8"));
for (const name of Object.keys(dependencies).filter((name) => !NOT.test(name))) {
  const version = /-(\d+)$/.exec(name)?.[1];
  for (const below of [undefined, ...(SUBPATHS[name.replace(/-\d+$/, "")] ?? [])]) {
    const spec = below ? `${name}/${below}` : name;
    const plugins = [shared(version ? `@${version}` : "")];
    await bundle(await stub(spec), { outfile: join(into, `${spec}.mjs`), legalComments: "inline", plugins });
  }
}
