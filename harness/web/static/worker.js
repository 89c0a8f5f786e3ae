// The worker that engines run in, so that the page stays alive to report while one is busy.

import { runEngine } from "/page/engine.js";

self.onmessage = ({ data: job }) => runEngine(job, (event) => self.postMessage(event));
