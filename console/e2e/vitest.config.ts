import { defineConfig } from "vitest/config";

// One browser and one node a file, and real processes behind them: one test after the other.
export default defineConfig({
  test: {
    include: ["*.test.ts"],
    globalSetup: "./setup.ts",
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 20_000 } },
  },
});
