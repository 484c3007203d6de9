import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: {
    // For examples/hello-ts, whose services are tested here.
    alias: { "@ropewalk/client": fileURLToPath(new URL("src/index.ts", import.meta.url)) },
  },
  test: {
    include: ["test/**/*.test.ts", "test/**/*.test.tsx"],
    globalSetup: "test/build-node.ts",
    testTimeout: 20_000,
    expect: { poll: { timeout: 10_000 } },
  },
});
