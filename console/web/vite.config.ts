import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

// What comes out depends on the sources and the lock file only; it is committed, and CI builds it again and compares.
export default defineConfig({
  resolve: { alias: { "@ropewalk/client": here("../../sdk/ts/dist/index.js") } },
  build: {
    outDir: here("../dist"),
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0, // the policy of the page allows no data: URLs
  },
  // "npm run dev" serves the sources; the WebSocket goes to the node of "ropewalk dev".
  server: { proxy: { "/node": { target: "http://127.0.0.1:7420", ws: true, changeOrigin: true, rewriteWsOrigin: true } } },
  test: { include: ["test/**/*.test.ts"] },
});
