"use client";

import { useEffect, useState } from "react";
import { decisions } from "../../threaded.js";

export default function Client() {
  const [models, setModels] = useState([]);
  useEffect(() => {
    globalThis.decided = decisions();
    globalThis.decided.then(({ pennyroute }) => setModels(pennyroute.map(({ model }) => model)));
  }, []);
  return <ul>{models.map((model, at) => <li key={at}>{model}</li>)}</ul>;
}
