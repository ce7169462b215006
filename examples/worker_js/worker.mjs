// A worker for jobs with `runtime: external`. Needs Node 18 or newer, and no packages:
//   KNOCKON_SERVER=http://127.0.0.1:8321 KNOCKON_KEY=kn_… node worker.mjs

import { createHash } from "node:crypto";
import { hostname } from "node:os";

const { KNOCKON_SERVER = "http://127.0.0.1:8321", KNOCKON_KEY } = process.env;
const WORKER = `${hostname()}-${process.pid}`;
const WAIT_SECONDS = 30;
const RETRY_SECONDS = 2;

// One function per job. It writes the partitions of the task, in such a way that a repetition
// does no harm, and returns the outputs. `signal` is aborted once the lease is lost.
const JOBS = {
  async model(task, { log, signal }) {
    const outputs = [];
    for (const partition of task.partitions) {
      signal.throwIfAborted();
      const content = JSON.stringify({ partition, read: Object.keys(task.inputs) });
      log(`trained ${partition}`);
      const fingerprint = createHash("sha256").update(content).digest("hex");
      outputs.push({ dataset: task.outputs[0].dataset, partition, fingerprint });
    }
    return outputs;
  },
};

class Problem extends Error {
  constructor(status, detail) {
    super(`${status}: ${detail}`);
    this.status = status;
  }
  get isTemporary() {
    return this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

async function post(path, secret, body, signal) {
  const response = await fetch(`${KNOCKON_SERVER}/api/v1/tasks/${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${secret}`, "content-type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  const text = await response.text();
  if (!response.ok) throw new Problem(response.status, text);
  return JSON.parse(text);
}

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

// A report is repeated during outages. If the response to a report was lost, the repeated report
// gets 409, because the task has ended.
async function report(task, action, body) {
  for (;;) {
    try {
      return await post(`${task.id}/${action}`, task.token, body);
    } catch (error) {
      if (error instanceof Problem && !error.isTemporary) throw error;
      console.error(`cannot report ${action}, trying again: ${error.message}`);
      await sleep(RETRY_SECONDS);
    }
  }
}

async function run(task) {
  const lines = [];
  const lost = new AbortController();
  const seconds = Math.max(1, (new Date(task.expires_at) - Date.now()) / 3000);
  const heartbeat = setInterval(() => {
    post(`${task.id}/heartbeat`, task.token, { log: lines.join("\n") }).catch((error) => {
      if (error.status === 409) lost.abort(error);
    });
  }, seconds * 1000);
  try {
    const outputs = await JOBS[task.job](task, {
      log: (line) => lines.push(line),
      signal: lost.signal,
    });
    await report(task, "complete", { outputs, log: lines.join("\n") });
    console.log(`completed ${task.job} ${task.partitions}`);
  } catch (error) {
    if (lost.signal.aborted || error.status === 409) return console.error("the lease is lost");
    console.error(`${task.job} failed: ${error.stack}`);
    await report(task, "fail", { error: String(error), log: lines.join("\n") }).catch((problem) =>
      console.error(`the failure is not recorded: ${problem.message}`),
    );
  } finally {
    clearInterval(heartbeat);
  }
}

// SIGTERM ends the wait for tasks at once; a running task is finished first.
const stop = new AbortController();
for (const name of ["SIGTERM", "SIGINT"]) process.on(name, () => stop.abort());

console.log(`worker ${WORKER} claims from ${KNOCKON_SERVER}`);
while (!stop.signal.aborted) {
  const wanted = { worker: WORKER, jobs: Object.keys(JOBS), wait: WAIT_SECONDS };
  try {
    const { tasks } = await post("claim", KNOCKON_KEY, wanted, stop.signal);
    for (const task of tasks) await run(task);
  } catch (error) {
    if (stop.signal.aborted) break;
    console.error(`cannot claim: ${error.message}`);
    if (error instanceof Problem && !error.isTemporary) process.exit(1);
    await sleep(RETRY_SECONDS);
  }
}
console.log("stopped");
