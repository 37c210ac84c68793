// What every task does and what the producer says, for the queues in Node: see producer.py.
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// The packages are in a folder of their own, not beside this file.
export const load = createRequire(`${process.env.PEERS}/npm/`);

export function child([program, ...args]) {
  return new Promise((done, failed) => {
    spawn(program, args, { stdio: "ignore" })
      .on("error", failed)
      .on("exit", (code) => (code === 0 ? done() : failed(new Error(`exit ${code}`))));
  });
}

export async function serve(enqueue) {
  console.log("ready");
  for await (const line of createInterface({ input: process.stdin })) {
    await enqueue(...JSON.parse(line));
    console.log(String(process.hrtime.bigint()));
  }
}
