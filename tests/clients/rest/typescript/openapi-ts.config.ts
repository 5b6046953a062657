import { defineConfig } from "@hey-api/openapi-ts";

// One class with a member for each tag: `clos.groups.start(…)`.
export default defineConfig({
  input: "openapi.json",
  output: "clos",
  plugins: [{ name: "@hey-api/sdk", operations: { strategy: "single", containerName: "Clos" } }],
});
