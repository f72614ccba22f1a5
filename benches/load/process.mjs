// What the processes under test cost, read from outside (Linux's /proc): workerd stops its own clock
// while code runs.

import { readdirSync, readFileSync } from "node:fs";

/** The CPU time that all threads of a process have used, in ms, to the nanosecond of the scheduler. @param {number} pid */
export function cpuMs(pid) {
  let ns = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      ns += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
    } catch {
      // A thread that ended in between.
    }
  }
  return ns / 1e6;
}

/** The same of its first thread alone, which in workerd runs the worker; the others compile and collect garbage. @param {number} pid */
export function threadMs(pid) {
  return Number(readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ")[0]) / 1e6;
}

/** Resident memory in MB. @param {number} pid */
export function residentMb(pid) {
  return Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 102.4) / 10;
}

/** The workerd that a process has started. @param {number} parent */
export function workerdOf(parent) {
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const status = readFileSync(`/proc/${pid}/status`, "utf8");
      if (status.startsWith("Name:\tworkerd\n") && status.includes(`\nPPid:\t${parent}\n`)) return Number(pid);
    } catch {
      // A process that ended in between.
    }
  }
  throw new Error(`process ${parent} runs no workerd`);
}
