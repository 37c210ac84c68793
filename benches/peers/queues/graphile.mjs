// graphile-worker: jobs in PostgreSQL, a job that ended well is deleted. `work N [tuned]` or nothing: the producer.
import { child, load, serve } from "./child.mjs";

const { run, makeWorkerUtils, Logger } = load("graphile-worker");
const [role, concurrency, tuned] = process.argv.slice(2);
const worker = { connectionString: "postgresql:///postgres", logger: new Logger(() => () => {}) };

if (role === "work") {
  const concurrentJobs = Number(concurrency);
  // Its manual's page on performance: a local queue, completions batched, a connection a job.
  const batching = { localQueue: { size: 100 }, completeJobBatchDelay: 0, failJobBatchDelay: 0, maxPoolSize: concurrentJobs + 2 };
  const preset = { worker: { ...worker, concurrentJobs, ...(tuned && batching) } };
  const runner = await run({ preset, taskList: { run: ({ argv }) => child(argv) } });
  await runner.promise;
} else {
  const utils = await makeWorkerUtils({ preset: { worker } });
  await utils.migrate();
  await serve((count, argv) =>
    count === 1 ? utils.addJob("run", { argv }) : utils.addJobs(Array.from({ length: count }, () => ({ identifier: "run", payload: { argv } }))),
  );
  await utils.release();
}
