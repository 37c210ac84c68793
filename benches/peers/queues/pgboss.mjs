// pg-boss: jobs in PostgreSQL. `work N` or nothing: the producer.
import { child, load, serve } from "./child.mjs";

const { PgBoss } = load("pg-boss");
const [role, concurrency] = process.argv.slice(2);
const boss = new PgBoss({ useListenNotify: role === "work", supervise: role === "work", schedule: false });
boss.on("error", (error) => console.error(error));
await boss.start();
await boss.createQueue("run", { notify: true });

if (role === "work") {
  // Its fast settings: woken by NOTIFY, each worker fetches 20 at a time and goes on at once while batches come back full.
  const options = { localConcurrency: Number(concurrency), batchSize: 20, burstWhenBatchFull: true };
  await boss.work("run", options, async (jobs) => {
    for (const { data } of jobs) await child(data.argv);
  });
  process.on("SIGTERM", () => boss.stop({ timeout: 3000 }).then(() => process.exit(0)));
} else {
  await serve((count, argv) =>
    count === 1 ? boss.send("run", { argv }) : boss.insert("run", Array.from({ length: count }, () => ({ data: { argv } }))),
  );
  await boss.stop({ graceful: false });
}
