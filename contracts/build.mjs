// Compiles HomingAnchor.sol into HomingAnchor.json (ABI and bytecode). With --check it only compares, and fails on a difference.
// The compiler is pinned by package-lock.json; the settings below and the file name are all that the bytecode depends on.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
// Modules may be installed elsewhere: HOMING_CHAIN_TOOLS names that folder.
const require = createRequire(join(process.env.HOMING_CHAIN_TOOLS ?? here, "package.json"));
const solc = require("solc");

const source = "HomingAnchor.sol";
const input = {
  language: "Solidity",
  sources: { [source]: { content: readFileSync(join(here, source), "utf8") } },
  settings: {
    evmVersion: "paris", // runs on every chain since 2022, also on those without PUSH0
    optimizer: { enabled: true, runs: 10000 },
    metadata: { appendCBOR: false, bytecodeHash: "none" },
    outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
  },
};
const output = JSON.parse(solc.compile(JSON.stringify(input)));
const faults = output.errors ?? [];
if (faults.length > 0) {
  console.error(faults.map((fault) => fault.formattedMessage).join("\n"));
  process.exit(1);
}
const { abi, evm } = output.contracts[source].HomingAnchor;
const built = JSON.stringify(
  { compiler: solc.version(), abi, bytecode: evm.bytecode.object, deployed: evm.deployedBytecode.object }, null, 2,
) + "\n";

const path = join(here, "HomingAnchor.json");
if (process.argv.includes("--check")) {
  const kept = readFileSync(path, "utf8");
  if (kept !== built) {
    console.error("HomingAnchor.json is not what HomingAnchor.sol compiles to; run `npm run build` in contracts/");
    process.exit(1);
  }
  console.log("HomingAnchor.json is what HomingAnchor.sol compiles to");
} else {
  writeFileSync(path, built);
  console.log(`wrote HomingAnchor.json, ${evm.deployedBytecode.object.length / 2} bytes deployed`);
}
