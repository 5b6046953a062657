// One class with a member for each tag: `clos.groups.start(…)`.
export default {
  input: "openapi.json",
  output: "clos",
  plugins: [{ name: "@hey-api/sdk", operations: { strategy: "single", containerName: "Clos" } }],
};
