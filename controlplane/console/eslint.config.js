import js from "@eslint/js";
import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["dist", "node_modules"] },
  js.configs.recommended,
  ...tseslint.configs.strict,
  {
    rules: {
      "@typescript-eslint/no-non-null-assertion": "error",
      "@typescript-eslint/no-explicit-any": "error",
      eqeqeq: "error",
    },
  },
  {
    files: ["e2e/**/*.mjs", "*.js"],
    languageOptions: {
      globals: {
        process: "readonly", console: "readonly", setTimeout: "readonly", setInterval: "readonly", clearInterval: "readonly",
        clearTimeout: "readonly", URL: "readonly", Buffer: "readonly", fetch: "readonly", document: "readonly", window: "readonly",
        sessionStorage: "readonly", history: "readonly", location: "readonly", dispatchEvent: "readonly", PopStateEvent: "readonly",
        PerformanceObserver: "readonly", localStorage: "readonly", performance: "readonly", AbortController: "readonly",
      },
    },
  },
);
