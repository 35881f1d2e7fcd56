import { defineConfig } from "vitest/config";

// The page is served under a strict Content-Security-Policy: nothing is inlined, not even a small picture.
export default defineConfig({
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
    chunkSizeWarningLimit: 300,
  },
  server: { host: "127.0.0.1", proxy: { "/v1": "http://127.0.0.1:8099" } },
  test: { environment: "node", include: ["test/**/*.test.ts"] },
});
